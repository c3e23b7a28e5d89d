"""The record of a deployment: one JSON file per network and version, enough to use it, check it, and say how it came.

`network` in it is what `--chains` takes: the file may be given there as it is.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from intentmesh.chain.config import ChainConfig, ConfiguredAddress, Erc3009Domain, NetworkConfig, TokenConfig
from intentmesh.chain.records import TransactionHash
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.errors import InvalidRecordError
from intentmesh.contract_pipeline.inspection import Deployed
from intentmesh.contract_pipeline.networks import NetworkTarget
from intentmesh.contract_pipeline.plan import DOMAIN_VERSION, ChainPlan
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.verification import GATE
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address, format_address

FORMAT = 1
Hex32 = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecordedContract(_Model):
    """One contract as it was deployed."""

    chain_id: int
    role: str
    name: str
    address: ConfiguredAddress
    # ABI-encoded.
    arguments: str
    salt: Hex32
    # keccak256 of creation code with arguments, and of the runtime code with its immutables zero.
    creation_code_hash: Hex32
    runtime_code_hash: Hex32
    transaction: Hex32 | None = None


class DeploymentRecord(_Model):
    """What `DATA_DIR/records/<network>-<version>.json` holds."""

    format: int = FORMAT
    network_name: str
    version: str
    # Of the sources and settings that the gates passed.
    fingerprint: str
    tools: Mapping[str, str]
    contracts: tuple[RecordedContract, ...]
    # As the stages reported; times and figures included.
    stages: tuple[Mapping[str, object], ...]
    network: NetworkConfig

    def transactions(self) -> Mapping[int, Mapping[Address, TransactionHash]]:
        """By chain id and address."""
        found: dict[int, dict[Address, TransactionHash]] = {}
        for contract in self.contracts:
            if contract.transaction is not None:
                known = found.setdefault(contract.chain_id, {})
                known[contract.address] = TransactionHash(bytes.fromhex(contract.transaction[2:]))
        return found

    def at(self, urls: Mapping[int, str]) -> "DeploymentRecord":
        """The same with these URLs, by chain id: local chains are somewhere else every time."""
        chains = tuple(
            chain.model_copy(update={"rpc_urls": (urls[chain.chain_id],)}) if chain.chain_id in urls else chain
            for chain in self.network.chains
        )
        return self.model_copy(update={"network": self.network.model_copy(update={"chains": chains})})

    def write(self, path: Path) -> None:
        """At once or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        content = self.model_dump(mode="json", exclude_none=True)
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)


def record_path(data_dir: Path, network: str, version: str) -> Path:
    return data_dir / "records" / f"{network}-{version}.json"


def read_record(path: Path) -> DeploymentRecord:
    """Raises InvalidRecordError."""
    try:
        record = DeploymentRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidRecordError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise InvalidRecordError(f"{path} is no deployment record: {place}: {fault['msg']}") from error
    if record.format != FORMAT:
        raise InvalidRecordError(f"{path} has format {record.format}; this program reads {FORMAT}")
    return record


def make_record(
    name: str,
    network: NetworkTarget,
    plans: Sequence[ChainPlan],
    deployed: Sequence[Deployed],
    artifacts: Artifacts,
    urls: Mapping[int, str],
    stages: Sequence[GateReport],
    fingerprint: str,
    tools: Mapping[str, str],
) -> DeploymentRecord:
    """`urls`, by chain id, are those of local chains; others keep their references, so that no secret is recorded."""
    return DeploymentRecord(
        network_name=name,
        version=network.version,
        fingerprint=fingerprint,
        tools=tools,
        contracts=tuple(_recorded(one, artifacts) for one in deployed),
        stages=tuple(report.to_json() for report in stages),
        network=NetworkConfig(
            chains=tuple(chain_config(plan, network, urls.get(plan.chain_id)) for plan in plans), keys=network.keys
        ),
    )


def recorded_only(record: DeploymentRecord, plans: Sequence[ChainPlan]) -> list[Finding]:
    """Contracts that were deployed and that nobody configures any more: nothing is asked about them, and a mesh that
    runs on the record still uses them."""
    planned = {(int(plan.chain_id), contract.role) for plan in plans for contract in plan.contracts}
    return [
        Finding(
            GATE,
            "recorded only",
            f"{contract.role} ({contract.name}) on chain {contract.chain_id}",
            f"it was deployed at {format_address(contract.address)} and is no longer configured",
        )
        for contract in record.contracts
        if (contract.chain_id, contract.role) not in planned
    ]


def chain_config(plan: ChainPlan, network: NetworkTarget, local_url: str | None) -> ChainConfig:
    """One chain as the mesh wants to know it."""
    chain = plan.chain
    test_tokens = {
        token.symbol: TokenConfig(
            address=plan.contract(token.symbol).address,
            decimals=token.decimals,
            erc3009=Erc3009Domain(name=token.name, version=DOMAIN_VERSION),
        )
        for token in chain.test_tokens
    }
    return ChainConfig(
        chain_id=chain.chain_id,
        name=chain.name,
        rpc_urls=(local_url,) if local_url is not None else chain.rpc_urls,
        confirmations=chain.confirmations,
        max_reorg_depth=chain.max_reorg_depth,
        block_time_seconds=chain.block_time_seconds,
        input_settler=plan.contract("input_settler").address,
        output_settler=plan.contract("output_settler").address,
        oracle=plan.contract("oracle").address,
        output_settler_accepts_surplus=True,
        tokens={**test_tokens, **chain.tokens},
        attestation_threshold=network.threshold,
    )


def _recorded(one: Deployed, artifacts: Artifacts) -> RecordedContract:
    planned = one.planned
    return RecordedContract(
        chain_id=one.chain_id,
        role=planned.role,
        name=planned.name,
        address=one.address,
        arguments="0x" + artifacts.encode_arguments(planned.name, planned.arguments).hex(),
        salt="0x" + planned.salt.hex(),
        creation_code_hash="0x" + planned.creation_hash.hex(),
        runtime_code_hash="0x" + keccak(artifacts.runtime_template(planned.name).code).hex(),
        transaction=None if one.transaction is None else "0x" + one.transaction.hex(),
    )
