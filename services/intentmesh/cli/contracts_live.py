"""The live test of a deployment: a whole mesh runs real intents on it, from signature to settlement."""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc

from intentmesh.chain.client import ChainClient
from intentmesh.chain.config import ChainConfig
from intentmesh.chain.tokens import Token
from intentmesh.cli.order import OrderWish, make_order
from intentmesh.client.order_builder import Scheme
from intentmesh.contract_pipeline.errors import DeploymentError
from intentmesh.contract_pipeline.record import DeploymentRecord
from intentmesh.domain.convert import order_to_proto
from intentmesh.domain.order import derive_type
from intentmesh.domain.types import UINT256_MAX, Address
from intentmesh.embedded.endpoints import Endpoints
from intentmesh.embedded.mesh import Mesh, MeshOptions
from intentmesh.embedded.network import Network, read_network
from intentmesh.transactions.model import Price
from intentmesh.transactions.signers import Signer
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest
from intentmesh.v1.intake_service_pb2_grpc import IntakeServiceStub
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus
from intentmesh.v1.status_service_pb2 import WATCH_END_SETTLED, GetIntentStatusRequest, WatchIntentRequest
from intentmesh.v1.status_service_pb2_grpc import StatusServiceStub

DEADLINE_SECONDS = 180.0
RECEIPT_POLL_SECONDS = 0.1
GAS_LIMIT = 200_000
WHOLE_TOKENS = 1_000_000
# A swap and a transfer on every chain: (sold, least bought, how it is signed).
WISHES = (("USDC:100", "WETH:0.0498", Scheme.PERMIT2), ("USDC:25", "USDC:24.9", Scheme.ERC3009))
# From every chain to the next one: the attesters and their oracle have to prove it.
CROSSING = ("USDC:50", "USDC:49.8", Scheme.PERMIT2)


async def run_intents(record: DeploymentRecord) -> Sequence[str]:
    """Starts a mesh on the recorded contracts and drives its intents. Returns what went wrong.

    Raises EmbeddedError, ChainUnavailable, DeploymentError.
    """
    with tempfile.TemporaryDirectory(prefix="intentmesh-live-") as folder:
        file = Path(folder) / "record.json"
        content = {"network": record.network.model_dump(mode="json", exclude_none=True)}
        await asyncio.to_thread(file.write_text, json.dumps(content), encoding="utf-8")
        network = read_network(file)
        for chain in network.config.chains:
            await _provide(chain, network)
        options = MeshOptions(data_dir=Path(folder) / "mesh", network_file=file)
        async with Mesh(options) as mesh:
            return await _drive(mesh.endpoints)


async def _drive(endpoints: Endpoints) -> list[str]:
    async with grpc.aio.insecure_channel(endpoints.gateway) as channel:
        runs = [_run(channel, endpoints, wish) for wish in wishes([chain.name for chain in endpoints.chains])]
        return [problem for problem in await asyncio.gather(*runs) if problem is not None]


def wishes(chains: Sequence[str]) -> list[OrderWish]:
    """What is tried on chains of these names: every way of signing on each, and every chain as origin and destination
    of an order that crosses, where there are two."""
    on_one = [
        OrderWish(sell=sell, buy=buy, origin=chain, scheme=scheme) for chain in chains for sell, buy, scheme in WISHES
    ]
    sell, buy, scheme = CROSSING
    ring = zip(chains, [*chains[1:], *chains[:1]], strict=True)
    across = [
        OrderWish(sell=sell, buy=buy, origin=origin, destination=destination, scheme=scheme)
        for origin, destination in ring
        if origin != destination
    ]
    return [*on_one, *across]


async def _run(channel: grpc.aio.Channel, endpoints: Endpoints, wish: OrderWish) -> str | None:
    """One intent to its end. What went wrong, None when it settled."""
    what = f"{wish.sell} on {wish.origin} for {wish.buy} on {wish.destination or wish.origin}"
    signed = make_order(endpoints, wish)
    request = SubmitIntentRequest(
        order=order_to_proto(signed.order), signature=signed.signature, type=derive_type(signed.order)
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            submitted = await IntakeServiceStub(channel).SubmitIntent(request)
            status = StatusServiceStub(channel)
            watch = status.WatchIntent(WatchIntentRequest(intent_id=submitted.intent_id, end=WATCH_END_SETTLED))
            async for _ in watch:
                pass
            last = await status.GetIntentStatus(GetIntentStatusRequest(intent_id=submitted.intent_id))
    except TimeoutError:
        return f"{what}: not settled after {DEADLINE_SECONDS:.0f} s"
    except grpc.aio.AioRpcError as error:
        return f"{what}: {error.code().name}: {error.details()}"
    if last.status != IntentStatus.INTENT_STATUS_COMPLETED or last.phase != IntentPhase.INTENT_PHASE_SETTLED:
        return f"{what}: ended {IntentStatus.Name(last.status)} in {IntentPhase.Name(last.phase)}: {last.message}"
    return None


async def _provide(chain: ChainConfig, network: Network) -> None:
    """Test tokens and allowances for the user and the solver; none for whoever has them."""
    async with ChainClient(chain) as client:
        for role, spender in (("user", chain.permit2), ("solver", chain.output_settler)):
            for key in network.of_role(role):
                signer = Signer(key.private_key)
                for config in chain.tokens.values():
                    token = Token(client, config.address)
                    amount = WHOLE_TOKENS * 10**config.decimals
                    if await token.balance_of(signer.address) < amount // 2:
                        await _send(client, signer, config.address, token.encode_mint(signer.address, amount))
                    if await token.allowance(signer.address, spender) < amount:
                        await _send(client, signer, config.address, token.encode_approve(spender, UINT256_MAX))


async def _send(client: ChainClient, signer: Signer, to: Address, data: bytes) -> None:
    fees = await client.fees()
    signed = signer.sign_transaction(
        chain_id=client.chain_id,
        nonce=await client.nonce(signer.address, "pending"),
        to=to,
        data=data,
        value=0,
        gas_limit=GAS_LIMIT,
        price=Price(max_fee=2 * fees.base_fee + fees.priority_fee, priority_fee=fees.priority_fee),
    )
    await client.send_raw(signed.raw)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (receipt := await client.receipt(signed.hash)) is None:  # noqa: ASYNC110 (another process mines)
            await asyncio.sleep(RECEIPT_POLL_SECONDS)
    if not receipt.succeeded:
        raise DeploymentError("a test token did not do what the live test needs")
