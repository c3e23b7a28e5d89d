"""What a network's deployment consists of: contracts with their arguments, code and addresses. Pure."""

from dataclasses import dataclass

from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.create2 import create2_address, salt_of
from intentmesh.contract_pipeline.networks import ChainTarget, NetworkTarget
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address, ChainId

LOCAL_TOKEN = "LocalToken"  # noqa: S105 (a contract's name)
DOMAIN_VERSION = "1"


@dataclass(frozen=True, slots=True)
class PlannedContract:
    """One contract of one chain. `role` is its place in the network file; a test token's is its symbol."""

    role: str
    name: str
    arguments: tuple[object, ...]
    salt: bytes
    creation: bytes
    # Of its EIP-712 domain; None when it has none.
    domain_name: str | None

    @property
    def address(self) -> Address:
        return create2_address(self.salt, self.creation)

    @property
    def creation_hash(self) -> bytes:
        return keccak(self.creation)


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """All contracts of one chain, in the order in which they are deployed."""

    chain: ChainTarget
    contracts: tuple[PlannedContract, ...]

    @property
    def chain_id(self) -> ChainId:
        return self.chain.chain_id

    def contract(self, role: str) -> PlannedContract:
        return next(contract for contract in self.contracts if contract.role == role)


def plan_network(network: NetworkTarget, artifacts: Artifacts) -> tuple[ChainPlan, ...]:
    """Raises NotBuiltError."""
    return tuple(_plan_chain(network, chain, artifacts) for chain in network.chains)


def _plan_chain(network: NetworkTarget, chain: ChainTarget, artifacts: Artifacts) -> ChainPlan:
    salt = salt_of(f"{network.salt} {network.version}")

    def contract(role: str, name: str, domain: str | None, *arguments: object) -> PlannedContract:
        return PlannedContract(role, name, arguments, salt, artifacts.creation_code(name, arguments), domain)

    return ChainPlan(
        chain,
        (
            contract("input_settler", "InputSettlerEscrow", "OIFEscrow"),
            contract("output_settler", "OutputSettler", None),
            contract("oracle", "AttestedOracle", "AttestedOracle", network.attesters, network.threshold),
            *(
                contract(token.symbol, LOCAL_TOKEN, token.name, token.name, token.symbol, token.decimals)
                for token in chain.test_tokens
            ),
        ),
    )
