"""What others do on chain while this solver works: open, fill, refuse."""

import asyncio
from dataclasses import replace

from intentmesh.chain.client import ChainClient, ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.input_settler import InputSettler
from intentmesh.chain.output_settler import OutputSettler
from intentmesh.chain.tokens import Token
from intentmesh.domain.types import Address, format_address, to_bytes32
from intentmesh.embedded.deployment import LocalAccount, local_accounts
from intentmesh.transactions.model import Price
from intentmesh.transactions.signers import Signer
from intentmesh.v1 import error_pb2 as reasons

from tests.integration.solver.world import (
    ONE_WETH,
    WAIT_SECONDS,
    SignedOrder,
    SolverClient,
    by_permit2,
    fills,
    stages,
    swap,
    transaction_counts,
)

RIVAL = local_accounts("operator")[0]
GAS_LIMIT = 1_000_000
GWEI = 10**9
MINING_POLL_SECONDS = 0.02


async def send(client: ChainClient, account: LocalAccount, to: Address, data: bytes) -> None:
    """A transaction by somebody else, included when this returns."""
    signed = Signer(account.private_key).sign_transaction(
        chain_id=client.chain_id,
        nonce=await client.nonce(account.address, "pending"),
        to=to,
        data=data,
        value=0,
        gas_limit=GAS_LIMIT,
        price=Price(10 * GWEI, GWEI),
    )
    transaction = await client.send_raw(signed.raw)
    async with asyncio.timeout(WAIT_SECONDS):
        while (receipt := await client.receipt(transaction)) is None:  # noqa: ASYNC110 - another process mines
            await asyncio.sleep(MINING_POLL_SECONDS)
    assert receipt.succeeded


async def open_by_rival(clients: ChainClients, signed: SignedOrder) -> None:
    client = clients.of(signed.order.origin_chain_id)
    data = InputSettler(client).encode_open_for(signed.order, signed.order.user, signed.signature)
    await send(client, RIVAL, signed.settler, data)


async def fill_by_rival(clients: ChainClients, signed: SignedOrder, index: int = 0) -> None:
    output = signed.order.outputs[index]
    client = clients.of(output.chain_id)
    settler = OutputSettler(client)
    token = Token(client, Address(output.token[12:]))
    await send(client, RIVAL, token.address, token.encode_mint(RIVAL.address, output.amount))
    await send(client, RIVAL, token.address, token.encode_approve(settler.address, output.amount))
    data = settler.encode_fill(signed.intent_id, output, signed.order.fill_deadline, to_bytes32(RIVAL.address))
    await send(client, RIVAL, settler.address, data)


async def test_execute__opened_by_another_solver__fills_and_settles_without_a_signature(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients
) -> None:
    signed = swap(network)
    award = await solver.award(signed, already_opened=True)
    before = await transaction_counts(chain_clients)
    await open_by_rival(chain_clients, signed)
    updates = await solver.execute(award)
    assert stages(updates) == ["ACCEPTED", "OPENED", "FILLING", "FILLED", "PROVING", "SETTLED"]
    after = await transaction_counts(chain_clients)
    assert sum(after.values()) - sum(before.values()) == 3


async def test_execute__opened_and_filled_by_another__released_and_nothing_paid(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients
) -> None:
    signed = swap(network)
    award = await solver.award(signed, already_opened=True)
    before = await transaction_counts(chain_clients)
    await open_by_rival(chain_clients, signed)
    await fill_by_rival(chain_clients, signed)
    updates = await solver.execute(award)
    assert stages(updates) == ["ACCEPTED", "RELEASED"]
    assert updates[-1].reason == reasons.ERROR_REASON_FILL_MISMATCH
    assert format_address(RIVAL.address) in updates[-1].message
    assert await transaction_counts(chain_clients) == before


async def test_execute__filled_by_another_before_the_opening__released_and_not_opened(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients
) -> None:
    signed = swap(network)
    award = await solver.award(signed)
    before = await transaction_counts(chain_clients)
    await fill_by_rival(chain_clients, signed)
    updates = await solver.execute(award)
    assert stages(updates) == ["ACCEPTED", "RELEASED"]
    assert updates[-1].reason == reasons.ERROR_REASON_FILL_MISMATCH
    assert await transaction_counts(chain_clients) == before


async def test_execute__second_output_filled_by_another__pays_the_first_only_and_settles(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients
) -> None:
    one = swap(network).order
    second = replace(one.outputs[0], amount=ONE_WETH // 1000)
    signed = by_permit2(replace(one, outputs=(one.outputs[0], second)), network)
    award = await solver.award(signed)
    await fill_by_rival(chain_clients, signed, index=1)
    updates = await solver.execute(award)
    assert stages(updates)[-1] == "SETTLED"
    by = [fill.solver for fill in await fills(chain_clients, signed)]
    assert by.count(to_bytes32(RIVAL.address)) == 1
    assert len(by) == 2


async def test_execute__two_outputs__are_paid_by_one_transaction(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients
) -> None:
    one = swap(network).order
    second = replace(one.outputs[0], amount=ONE_WETH // 1000)
    signed = by_permit2(replace(one, outputs=(one.outputs[0], second)), network)
    updates = await solver.execute(await solver.award(signed))
    assert stages(updates)[-1] == "SETTLED"
    transactions = {fill.transaction_hash for fill in await fills(chain_clients, signed)}
    assert len(transactions) == 1


async def test_execute__bound_to_an_unknown_settler__released(solver: SolverClient, network: NetworkConfig) -> None:
    signed = swap(network)
    other_settler = SignedOrder(signed.order, network.chains[1].input_settler, b"")
    award = await solver.award(other_settler, already_opened=True)
    updates = await solver.execute(award)
    assert stages(updates) == ["RELEASED"]
