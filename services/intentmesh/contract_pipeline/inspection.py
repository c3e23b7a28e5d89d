"""Asks a chain what stands there, and compares it with a plan. Sends nothing, holds no key."""

from dataclasses import dataclass
from typing import Any, Self

from intentmesh.chain import wire
from intentmesh.chain.codec import MalformedData
from intentmesh.chain.endpoints import EndpointPool
from intentmesh.chain.errors import EndpointError
from intentmesh.chain.records import TransactionHash
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.create2 import CREATE2_DEPLOYER, CREATE2_DEPLOYER_CODE_HASH
from intentmesh.contract_pipeline.errors import DeploymentError
from intentmesh.contract_pipeline.plan import LOCAL_TOKEN, ChainPlan, PlannedContract
from intentmesh.contract_pipeline.reports import Finding
from intentmesh.contract_pipeline.verification import GATE, Standing, is_made_of, set_difference, verify
from intentmesh.domain.digests import PERMIT2
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address, format_address, parse_address

RPC_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """One contract that stands on a chain."""

    planned: PlannedContract
    chain_id: int
    address: Address
    # None when it stood there before and no record tells of its transaction.
    transaction: TransactionHash | None
    # Whether this run sent the transaction.
    sent: bool


class ChainInspector:
    """One chain. Raises ChainUnavailable when it does not answer."""

    def __init__(self, plan: ChainPlan, rpc_url: str, artifacts: Artifacts) -> None:
        self._plan = plan
        self._artifacts = artifacts
        self._rpc = EndpointPool(plan.chain_id, (rpc_url,), RPC_TIMEOUT_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._rpc.close()

    async def verify(self, deployed: list[Deployed]) -> list[Finding]:
        """Every difference between plan and chain: code, immutables, arguments, and what the contracts answer."""
        where = f"chain {self._plan.chain.name}"
        findings = [Finding(GATE, "surroundings", where, fault) for fault in await self.surroundings()]
        for one in deployed:
            # What other code than ours answers says nothing.
            findings += verify(one.planned, await self._standing(one), self._artifacts) or await self._assert_answers(
                one
            )
        return findings

    async def surroundings(self) -> list[str]:
        """What is wrong with the contracts that are not ours: addresses follow from the one's code, the escrow trusts
        the other's."""
        faults = []
        deployer, permit2 = await self._code(CREATE2_DEPLOYER), await self._code(PERMIT2)
        if keccak(deployer) != CREATE2_DEPLOYER_CODE_HASH:
            faults.append(_missing("the CREATE2 deployer", CREATE2_DEPLOYER, deployer))
        if not is_made_of(self._artifacts.runtime_template("Permit2"), permit2):
            faults.append(_missing("Permit2", PERMIT2, permit2))
        return faults

    async def _standing(self, one: Deployed) -> Standing:
        calldata = None
        if one.transaction is not None:
            found: Any = await self._rpc.request("eth_getTransactionByHash", wire.data(one.transaction))
            calldata = wire.read_data(found["input"]) if found else b""
        return Standing(one.chain_id, one.address, await self._code(one.address), calldata)

    async def _assert_answers(self, one: Deployed) -> list[Finding]:
        """What the contract itself says of the state that no code holds."""
        planned = one.planned
        faults: list[tuple[str, str]] = []
        if planned.name == "AttestedOracle":
            (found,) = await self._ask(one, "attesters")
            configured = [Address(account) for account in planned.arguments[0]]  # type: ignore[attr-defined]  # by plan
            difference = set_difference(configured, [parse_address(account) for account in found])
            if difference:
                faults.append(("attester set", difference))
            (threshold,) = await self._ask(one, "threshold")
            if threshold != planned.arguments[1]:
                faults.append(("threshold", f"is {threshold}, should be {planned.arguments[1]}"))
        if planned.name == LOCAL_TOKEN:
            for function, argument in (("name", 0), ("symbol", 1), ("decimals", 2)):
                (answer,) = await self._ask(one, function)
                if answer != planned.arguments[argument]:
                    faults.append((function, f"is {answer!r}, should be {planned.arguments[argument]!r}"))
        where = f"{planned.role} ({planned.name}) on chain {one.chain_id}"
        return [Finding(GATE, check, where, fault) for check, fault in faults]

    async def _ask(self, one: Deployed, function: str) -> tuple[Any, ...]:
        interface = self._artifacts.abi(one.planned.name).function(function)
        call = {"to": format_address(one.address), "data": wire.data(interface.encode())}
        try:
            return interface.decode(wire.read_data(await self._rpc.request("eth_call", call, "latest")))
        except (MalformedData, EndpointError) as error:
            raise DeploymentError(f"{self._shown(one.planned)}: {function}() does not answer: {error}") from error

    async def _code(self, address: Address, block: str = "latest") -> bytes:
        return wire.read_data(await self._rpc.request("eth_getCode", format_address(address), block))

    def _shown(self, planned: PlannedContract) -> str:
        return f"{planned.role} on chain {self._plan.chain.name}"


def _missing(what: str, address: Address, code: bytes) -> str:
    shown = format_address(address)
    return f"what stands at {shown} is not {what}" if code else f"{what} is not at {shown}: put it there first"
