"""Puts the contracts of a plan on their chain.

What stands at its CREATE2 address is never sent again, so a second run, or one after a kill in the middle, sends only
what is missing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from intentmesh.chain import wire
from intentmesh.chain.errors import EndpointError
from intentmesh.chain.records import TransactionHash
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.create2 import CREATE2_DEPLOYER, create2_calldata
from intentmesh.contract_pipeline.errors import DeploymentError
from intentmesh.contract_pipeline.inspection import ChainInspector, Deployed
from intentmesh.contract_pipeline.plan import ChainPlan, PlannedContract
from intentmesh.domain.digests import PERMIT2
from intentmesh.domain.types import Address, format_address
from intentmesh.transactions.model import Price
from intentmesh.transactions.signers import Signer

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


class ChainDeployer(ChainInspector):
    """One chain and the key that pays. Raises ChainUnavailable when the chain does not answer.

    `on_fork` says that the URL is that of a fork of the chain, which mines on demand as local chains do.
    """

    def __init__(
        self, plan: ChainPlan, rpc_url: str, signer: Signer, artifacts: Artifacts, *, on_fork: bool = False
    ) -> None:
        super().__init__(plan, rpc_url, artifacts)
        self._mines_on_demand = plan.chain.local or on_fork
        self._signer = signer

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
        faults = await self.surroundings()
        if faults:
            raise DeploymentError(f"chain {self._plan.chain.name}: {faults[0]}")
        return [await self._deploy(planned, known, remember) for planned in self._plan.contracts]

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
