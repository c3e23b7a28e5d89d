"""What a run of the pipeline has behind it, so that a killed one can go on: one file, written after every stage."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intentmesh.chain.records import TransactionHash
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address

_SOURCES = (
    *("src/**/*.sol", "test/**/*", "tools/*"),
    *("foundry.toml", "limits.toml", "accepted-findings.toml", "package-lock.json"),
)


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

    def remember(self, chain_id: int, address: Address, transaction: TransactionHash) -> None:
        """A transaction that is about to be sent."""
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


def fingerprint(contracts: Path, configuration: str) -> str:
    """Of everything that the stages look at: sources, tests, settings, and the network's configuration."""
    files = sorted({file for pattern in _SOURCES for file in contracts.glob(pattern) if file.is_file()})
    parts = [f"{file.relative_to(contracts)} {keccak(file.read_bytes()).hex()}" for file in files]
    return "0x" + keccak("\n".join([*parts, configuration]).encode()).hex()
