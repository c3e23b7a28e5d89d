"""What a run of the pipeline has behind it, so that a killed one can go on: one file, written after every stage."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intentmesh.chain.records import TransactionHash
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address

# Below the repository: all that a gate reads.
_READ = (
    *("contracts/src/**/*.sol", "contracts/test/**/*", "contracts/tools/*", "tests/golden/*"),
    *("contracts/foundry.toml", "contracts/halmos.toml", "contracts/limits.toml"),
    *("contracts/accepted-findings.toml", "contracts/package-lock.json"),
)
_OWN_SOURCES = Path(__file__).parent


class Journal:
    """Passed stages of one network and version. Those of other sources or another configuration count for nothing."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path = path
        self._fingerprint = fingerprint
        self._stages: dict[str, Mapping[str, Any]] = {}
        # By chain id and address. They hold whatever became of the sources: an address follows from the code.
        self._transactions: dict[str, str] = {}

    def load(self, *, resume: bool) -> None:
        """What an earlier run left. Its stages count when resumed with the same fingerprint; a torn file is none."""
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if not isinstance(content, dict):
            return
        self._transactions = dict(content["transactions"])
        if resume and content["fingerprint"] == self._fingerprint:
            self._stages = dict(content["stages"])

    def remember(self, chain_id: int, address: Address, transaction: TransactionHash, *, undoes: str) -> None:
        """A transaction that is about to be sent, and the stage that has to be done again for it."""
        self._stages.pop(undoes, None)
        self._transactions[f"{chain_id}/{address.hex()}"] = transaction.hex()
        self._write()

    def transactions(self, chain_id: int) -> dict[Address, TransactionHash]:
        """Those of one chain, by the address of the contract that they make."""
        found = {}
        for key, transaction in self._transactions.items():
            chain, _, address = key.partition("/")
            if chain == str(chain_id):
                found[Address(bytes.fromhex(address))] = TransactionHash(bytes.fromhex(transaction))
        return found

    def passed(self, stage: str) -> GateReport | None:
        """The report of a stage that is done with."""
        found = self._stages.get(stage)
        if found is None:
            return None
        accepted = tuple(Finding(**finding) for finding in found["accepted"])
        return GateReport(stage, (), found["summary"], found["figures"], accepted, found["seconds"])

    def add(self, report: GateReport) -> None:
        """A stage that is done with."""
        self._stages[report.gate] = report.to_json()
        self._write()

    def _write(self) -> None:
        """At once or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".new")
        content = {"fingerprint": self._fingerprint, "stages": self._stages, "transactions": self._transactions}
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self._path)

    def close(self) -> None:
        """The run is complete; the next one begins anew."""
        self._path.unlink(missing_ok=True)


def fingerprint(repository: Path, configuration: str) -> str:
    """Of everything that the stages look at: sources, tests, settings, the network's configuration; and of themselves.

    What is built is not part of it: the hashes of the compile gate say which build has been judged.
    """
    read = [(file, repository) for pattern in _READ for file in repository.glob(pattern)]
    own = [(file, _OWN_SOURCES) for file in _OWN_SOURCES.rglob("*.py")]
    parts = sorted(
        f"{file.relative_to(folder)} {keccak(file.read_bytes()).hex()}" for file, folder in read + own if file.is_file()
    )
    return "0x" + keccak("\n".join([*parts, configuration]).encode()).hex()
