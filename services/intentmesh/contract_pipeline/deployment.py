"""Puts the contracts of a plan on their chain, and asks the chain what stands there.

What stands at its CREATE2 address is never sent again, so a second run, or one after a kill in the middle, sends only
what is missing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from intentmesh.chain import wire
from intentmesh.chain.codec import MalformedData
from intentmesh.chain.endpoints import EndpointPool
from intentmesh.chain.errors import EndpointError
from intentmesh.chain.records import TransactionHash
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.create2 import CREATE2_DEPLOYER, create2_calldata
from intentmesh.contract_pipeline.errors import DeploymentError
from intentmesh.contract_pipeline.plan import LOCAL_TOKEN, ChainPlan, PlannedContract
from intentmesh.contract_pipeline.reports import Finding
from intentmesh.contract_pipeline.verification import GATE, Standing, set_difference, verify
from intentmesh.domain.digests import PERMIT2
from intentmesh.domain.types import Address, format_address, parse_address
from intentmesh.transactions.model import Price
from intentmesh.transactions.signers import Signer

RPC_TIMEOUT_SECONDS = 30.0
# Besides the time that the confirmations take.
INCLUSION_DEADLINE_SECONDS = 300.0
POLL_SECONDS = 0.1
# An estimate is of the state before; later blocks may cost a little more.
GAS_MARGIN_PERCENT = 20
# A block's base fee can double within six full blocks.
FEE_HEADROOM = 2
DEFAULT_PRIORITY_FEE_WEI = 10**9

# Told of a contract's address and transaction.
Remember = Callable[[Address, TransactionHash], None]


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


class ChainDeployer:
    """One chain and the key that pays. Raises ChainUnavailable when the chain does not answer.

    `on_fork` says that the URL is that of a fork of the chain, which mines on demand as local chains do.
    """

    def __init__(
        self, plan: ChainPlan, rpc_url: str, signer: Signer, artifacts: Artifacts, *, on_fork: bool = False
    ) -> None:
        self._plan = plan
        self._mines_on_demand = plan.chain.local or on_fork
        self._signer = signer
        self._artifacts = artifacts
        self._rpc = EndpointPool(plan.chain_id, (rpc_url,), RPC_TIMEOUT_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._rpc.close()

    async def prepare_local(self) -> None:
        """On an Anvil of our own: Permit2 at its address, as other chains have it, and funds for the deployer."""
        if not await self._code(PERMIT2):
            permit2 = wire.data(self._artifacts.runtime_template("Permit2").code)
            await self._rpc.request("anvil_setCode", format_address(PERMIT2), permit2)
        account = format_address(self._signer.address)
        if wire.quantity(await self._rpc.request("eth_getBalance", account, "latest")) == 0:
            await self._rpc.request("anvil_setBalance", account, hex(10**22))

    async def deploy(
        self, known: Mapping[Address, TransactionHash], remember: Remember = lambda *_: None
    ) -> list[Deployed]:
        """Sends what is missing, one after the other, and waits until it is as deep as the chain's configuration says.

        `known` are transactions of earlier runs; `remember` is told of every one before it is sent. Raises
        DeploymentError.
        """
        await self._require_surroundings()
        return [await self._deploy(planned, known, remember) for planned in self._plan.contracts]

    async def verify(self, deployed: list[Deployed]) -> list[Finding]:
        """Every difference between plan and chain: code, immutables, arguments, and what the contracts answer."""
        findings: list[Finding] = []
        for one in deployed:
            # What other code than ours answers says nothing.
            findings += verify(one.planned, await self._standing(one), self._artifacts) or await self._assert_answers(
                one
            )
        return findings

    async def _deploy(
        self, planned: PlannedContract, known: Mapping[Address, TransactionHash], remember: Remember
    ) -> Deployed:
        address = planned.address
        transaction = known.get(address)
        if await self._code(address):
            await self._await(planned, lambda: self._is_deep(address))
            return Deployed(planned, self._plan.chain_id, address, transaction, sent=False)
        if transaction is None or not await self._is_underway(transaction):
            transaction = await self._send(planned, remember)
        await self._await(planned, lambda: self._is_included(planned, transaction))
        if not await self._code(address):
            raise DeploymentError(f"{self._shown(planned)}: the transaction succeeded and no contract stands there")
        await self._await(planned, lambda: self._is_deep(address))
        return Deployed(planned, self._plan.chain_id, address, transaction, sent=True)

    async def _is_underway(self, transaction: TransactionHash) -> bool:
        """Whether a run that was killed sent it and the chain still has to include it."""
        found: Any = await self._rpc.request("eth_getTransactionByHash", wire.data(transaction))
        return found is not None and found.get("blockNumber") is None

    async def _send(self, planned: PlannedContract, remember: Remember) -> TransactionHash:
        data = create2_calldata(planned.salt, planned.creation)
        sender = format_address(self._signer.address)
        message = {"from": sender, "to": format_address(CREATE2_DEPLOYER), "data": wire.data(data)}
        try:
            estimate = wire.quantity(await self._rpc.request("eth_estimateGas", message, first_error_counts=True))
            nonce = wire.quantity(await self._rpc.request("eth_getTransactionCount", sender, "pending"))
            signed = self._signer.sign_transaction(
                chain_id=self._plan.chain_id,
                nonce=nonce,
                to=CREATE2_DEPLOYER,
                data=data,
                value=0,
                gas_limit=estimate * (100 + GAS_MARGIN_PERCENT) // 100,
                price=await self._price(),
            )
            remember(planned.address, signed.hash)
            await self._rpc.request("eth_sendRawTransaction", wire.data(signed.raw), first_error_counts=True)
        except EndpointError as error:
            raise DeploymentError(f"{self._shown(planned)}: the chain refuses it: {error.text}") from error
        return signed.hash

    async def _price(self) -> Price:
        block: Any = await self._rpc.request("eth_getBlockByNumber", "latest", False)
        try:
            tip = wire.quantity(await self._rpc.request("eth_maxPriorityFeePerGas"))
        except EndpointError:
            tip = DEFAULT_PRIORITY_FEE_WEI
        return Price(max_fee=FEE_HEADROOM * wire.base_fee(block) + tip, priority_fee=tip)

    async def _await(self, planned: PlannedContract, has_come: Callable[[], Awaitable[bool]]) -> None:
        chain = self._plan.chain
        seconds = INCLUSION_DEADLINE_SECONDS + 2 * chain.confirmations * chain.block_time_seconds
        try:
            async with asyncio.timeout(seconds):
                while not await has_come():  # noqa: ASYNC110 (another process mines)
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            fault = f"not {chain.confirmations} blocks deep within {seconds:.0f} s"
            raise DeploymentError(f"{self._shown(planned)}: {fault}; run again later") from None

    async def _is_included(self, planned: PlannedContract, transaction: TransactionHash) -> bool:
        found = await self._rpc.request("eth_getTransactionReceipt", wire.data(transaction))
        if found is None:
            return False
        if not wire.receipt(found).succeeded:
            raise DeploymentError(f"{self._shown(planned)}: its transaction 0x{transaction.hex()} failed")
        return True

    async def _is_deep(self, address: Address) -> bool:
        """Whether the contract stood there as many blocks ago as the chain's configuration asks for. On public chains
        only: an Anvil that mines on demand would never reach it."""
        if self._mines_on_demand:
            return True
        head = wire.quantity(await self._rpc.request("eth_blockNumber"))
        block = head - self._plan.chain.confirmations + 1
        return block >= 0 and bool(await self._code(address, hex(block)))

    async def _require_surroundings(self) -> None:
        for address, what in ((CREATE2_DEPLOYER, "the CREATE2 deployer"), (PERMIT2, "Permit2")):
            if not await self._code(address):
                raise DeploymentError(
                    f"chain {self._plan.chain.name} has not {what} at {format_address(address)}: put it there first"
                )

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
