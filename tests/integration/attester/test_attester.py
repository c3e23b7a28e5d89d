"""Two real attesters (gRPC, PostgreSQL, Anvil) whose signatures the real oracle takes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import grpc
import pytest
from intentmesh.attester.bootstrap import build
from intentmesh.attester.journal import ConflictingAttestation, Journal, Statement
from intentmesh.attester.settings import AttesterSettings
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.network_file import write_network
from intentmesh.chain.oracle import AttestedOracle
from intentmesh.chain.output_settler import OutputSettler
from intentmesh.domain.convert import output_to_proto
from intentmesh.domain.errors import MeshError
from intentmesh.domain.types import (
    Bytes32,
    ChainId,
    IntentId,
    format_address,
    format_intent_id,
    parse_bytes32,
    to_bytes32,
)
from intentmesh.embedded.deployment import LocalAccount, local_accounts
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.rpc.server import serving
from intentmesh.rpc.settings import SettingsError, load_settings
from intentmesh.store.pool import open_pool
from intentmesh.v1 import attester_service_pb2 as pb
from intentmesh.v1.attester_service_pb2_grpc import AttesterServiceStub
from intentmesh.v1.error_pb2 import ErrorReason

from tests.fixtures.servers import LocalChains
from tests.fixtures.signed_orders import SignedOrder, attested_swap_order, bridge_order, swap_order
from tests.integration.chain.conftest import Hands

SOLVER = local_accounts("solver")[0].address
SOLVER_WORD = to_bytes32(SOLVER)
TOKEN = "only-for-tests"
EMPTYING = ("DELETE FROM attester.journal", "TRUNCATE attester.journal")
EXECUTOR = Principal(PrincipalKind.EXECUTOR, "executor-1")


@dataclass(frozen=True, slots=True)
class Bench:
    """Chains, a filled bridge order, and what is needed to start attesters."""

    network: NetworkConfig
    clients: ChainClients
    hands: Hands
    folder: Path
    dsn: str

    def settings(self, account: LocalAccount, network: NetworkConfig | None = None) -> AttesterSettings:
        file = self.folder / f"{account.address.hex()}.toml"
        write_network(file, network or self.network)
        key = file.with_suffix(".key")
        key.write_text(account.private_key.hex(), encoding="ascii")
        return load_settings(
            AttesterSettings,
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            network_file=file,
            key=f"file:{key}",
            postgres_dsn=self.dsn,
            internal_token=TOKEN,
        )

    async def fill(self, signed: SignedOrder) -> pb.AttestFillRequest:
        """Fills for real; returns the true claim."""
        settler = OutputSettler(self.clients.of(signed.destination.chain_id))
        calldata = settler.encode_fill(signed.intent_id, signed.output, signed.order.fill_deadline, SOLVER_WORD)
        receipt = await self.hands.send(signed.destination, settler.address, calldata)
        block = await settler.client.block(receipt.block_number)
        assert block is not None
        return claim_of(signed, block.timestamp)


def claim_of(signed: SignedOrder, timestamp: int) -> pb.AttestFillRequest:
    return pb.AttestFillRequest(
        intent_id=format_intent_id(signed.intent_id),
        origin_chain_id=signed.origin.chain_id,
        input_oracle=format_address(signed.order.input_oracle),
        output=output_to_proto(signed.output),
        solver="0x" + SOLVER_WORD.hex(),
        timestamp=timestamp,
    )


def changed(request: pb.AttestFillRequest, **fields: object) -> pb.AttestFillRequest:
    other = pb.AttestFillRequest()
    other.CopyFrom(request)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


@asynccontextmanager
async def attester(
    settings: AttesterSettings, principal: Principal | None = EXECUTOR
) -> AsyncIterator[AttesterServiceStub]:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(build(settings))
        running = await stack.enter_async_context(serving(settings, service))
        token = TOKEN if principal is not None else ""
        channel = open_channel(running.target, principal=principal, internal_token=token)
        stack.push_async_callback(channel.close)
        yield AttesterServiceStub(channel)


async def refusal(call: "grpc.aio.UnaryUnaryCall[object, object]") -> MeshError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return mesh_error_from_rpc(caught.value)


@pytest.fixture
async def bench(
    network: NetworkConfig, chains: LocalChains, chain_clients: ChainClients, fresh_database: str, tmp_path: Path
) -> Bench:
    return Bench(network, chain_clients, Hands(chains, chain_clients), tmp_path, fresh_database)


@pytest.mark.parametrize("make", [bridge_order, attested_swap_order])
async def test_attest__two_attesters__the_real_oracle_takes_their_signatures(
    bench: Bench, make: Callable[[NetworkConfig, ChainClients], Awaitable[SignedOrder]]
) -> None:
    signed = await make(bench.network, bench.clients)
    request = await bench.fill(signed)
    answers = []
    for account in local_accounts("attester"):
        async with attester(bench.settings(account)) as stub:
            answer = (await stub.AttestFill(request)).attestation
            assert answer.attester == format_address(account.address)
            answers.append(answer)
    first = answers[0]
    assert first.intent_id == format_intent_id(signed.intent_id)
    oracle = AttestedOracle(bench.clients.of(signed.origin.chain_id))
    statement = (
        first.remote_chain_id,
        parse_bytes32(first.remote_oracle),
        parse_bytes32(first.application),
        parse_bytes32(first.data_hash),
    )
    assert not await oracle.is_proven(*statement)
    submit = oracle.encode_submit(*statement, [answer.signature for answer in answers])
    await bench.hands.send(signed.origin, oracle.address, submit)
    assert await oracle.is_proven(*statement)


async def test_attest__the_same_request_again__the_same_bytes_also_after_a_restart(bench: Bench) -> None:
    request = await bench.fill(await bridge_order(bench.network, bench.clients))
    settings = bench.settings(local_accounts("attester")[0])
    async with attester(settings) as stub:
        answers = await asyncio.gather(*(stub.AttestFill(request) for _ in range(8)))
    async with attester(settings) as stub:
        answers.append(await stub.AttestFill(request))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1


async def test_attest__not_filled__not_proven_with_a_time_to_retry(bench: Bench) -> None:
    signed = await bridge_order(bench.network, bench.clients)
    async with attester(bench.settings(local_accounts("attester")[0])) as stub:
        error = await refusal(stub.AttestFill(claim_of(signed, signed.order.fill_deadline)))
    assert error.reason == ErrorReason.ERROR_REASON_NOT_PROVEN
    assert error.retry_after == signed.destination.block_time_seconds


async def test_attest__filled_but_not_deep__waits_for_its_own_confirmations(bench: Bench) -> None:
    careful = NetworkConfig(
        chains=tuple(chain.model_copy(update={"confirmations": 3}) for chain in bench.network.chains)
    )
    signed = await bridge_order(bench.network, bench.clients)
    request = await bench.fill(signed)
    async with attester(bench.settings(local_accounts("attester")[0], careful)) as stub:
        for _ in range(2):
            error = await refusal(stub.AttestFill(request))
            assert error.reason == ErrorReason.ERROR_REASON_NOT_PROVEN
            assert error.retry_after is not None
            await bench.hands.mine(signed.destination)
        assert (await stub.AttestFill(request)).attestation.signature


async def test_attest__another_solver_or_time_than_recorded__fill_mismatch_and_nothing_signed(bench: Bench) -> None:
    request = await bench.fill(await bridge_order(bench.network, bench.clients))
    thief = "0x" + to_bytes32(local_accounts("user")[0].address).hex()
    async with attester(bench.settings(local_accounts("attester")[0])) as stub:
        for wrong in (changed(request, solver=thief), changed(request, timestamp=request.timestamp + 1)):
            assert (await refusal(stub.AttestFill(wrong))).reason == ErrorReason.ERROR_REASON_FILL_MISMATCH
        assert not (await stub.ListAttestations(pb.ListAttestationsRequest())).attestations


async def test_attest__another_statement_after_one_was_signed__conflicts_for_ever(bench: Bench) -> None:
    request = await bench.fill(await bridge_order(bench.network, bench.clients))
    settings = bench.settings(local_accounts("attester")[0])
    async with attester(settings) as stub:
        await stub.AttestFill(request)
    async with attester(settings) as stub:
        error = await refusal(stub.AttestFill(changed(request, timestamp=request.timestamp + 1)))
    assert error.reason == ErrorReason.ERROR_REASON_CONFLICTING_ATTESTATION


async def test_attest__contracts_that_are_not_configured__are_refused_before_any_look(bench: Bench) -> None:
    signed = await bridge_order(bench.network, bench.clients)
    request = await bench.fill(signed)
    other = "0x" + "ab" * 20

    def with_output(**fields: object) -> pb.AttestFillRequest:
        wrong = changed(request)
        for name, value in fields.items():
            setattr(wrong.output, name, value)
        return wrong

    cases = [
        (changed(request, origin_chain_id=5), ErrorReason.ERROR_REASON_UNSUPPORTED_CHAIN),
        (with_output(chain_id=5), ErrorReason.ERROR_REASON_UNSUPPORTED_CHAIN),
        (with_output(chain_id=signed.origin.chain_id), ErrorReason.ERROR_REASON_UNSUPPORTED_ORACLE),
        (changed(request, input_oracle=other), ErrorReason.ERROR_REASON_UNSUPPORTED_ORACLE),
        (with_output(oracle=other), ErrorReason.ERROR_REASON_UNSUPPORTED_ORACLE),
        (with_output(settler=other), ErrorReason.ERROR_REASON_UNSUPPORTED_SETTLER),
        (changed(request, intent_id="0x12"), ErrorReason.ERROR_REASON_INVALID_FIELD),
    ]
    async with attester(bench.settings(local_accounts("attester")[0])) as stub:
        reasons = [(await refusal(stub.AttestFill(wrong))).reason for wrong, _ in cases]
    assert reasons == [reason for _, reason in cases]


async def test_attest__order_that_names_the_settler_as_oracle__needs_no_attestation(bench: Bench) -> None:
    request = await bench.fill(await swap_order(bench.network, bench.clients))
    async with attester(bench.settings(local_accounts("attester")[0])) as stub:
        assert (await refusal(stub.AttestFill(request))).reason == ErrorReason.ERROR_REASON_UNSUPPORTED_ORACLE


async def test_callers__strangers_and_other_kinds__are_not_served(bench: Bench) -> None:
    request = claim_of(await bridge_order(bench.network, bench.clients), 1)
    settings = bench.settings(local_accounts("attester")[0])
    async with attester(settings, principal=None) as stub:
        assert (await refusal(stub.AttestFill(request))).reason == ErrorReason.ERROR_REASON_UNAUTHENTICATED
        listing = stub.ListAttestations(pb.ListAttestationsRequest())
        assert (await refusal(listing)).reason == ErrorReason.ERROR_REASON_UNAUTHENTICATED
    async with attester(settings, principal=Principal(PrincipalKind.SOLVER, "s")) as stub:
        assert (await refusal(stub.AttestFill(request))).reason == ErrorReason.ERROR_REASON_NOT_ALLOWED
    everybody = settings.model_copy(update={"allowed_callers": ("anonymous",)})
    async with attester(everybody, principal=None) as stub:
        assert (await refusal(stub.AttestFill(request))).reason == ErrorReason.ERROR_REASON_NOT_PROVEN


async def test_list__pages__newest_first_and_each_once(bench: Bench) -> None:
    requests = [await bench.fill(await bridge_order(bench.network, bench.clients, nonce=n)) for n in range(5)]
    async with attester(bench.settings(local_accounts("attester")[0])) as stub:
        for request in requests:
            await stub.AttestFill(request)
        seen, token = [], ""
        while True:
            page = await stub.ListAttestations(pb.ListAttestationsRequest(page_size=2, page_token=token))
            seen += [entry.intent_id for entry in page.attestations]
            token = page.next_page_token
            if not token:
                break
        assert seen == [request.intent_id for request in reversed(requests)]

        one = await stub.ListAttestations(pb.ListAttestationsRequest(intent_id=requests[2].intent_id))
        assert [entry.intent_id for entry in one.attestations] == [requests[2].intent_id]
        assert one.next_page_token == ""

        page = await stub.ListAttestations(pb.ListAttestationsRequest(page_size=2))
        foreign = pb.ListAttestationsRequest(intent_id=requests[2].intent_id, page_token=page.next_page_token)
        for wrong in (foreign, pb.ListAttestationsRequest(page_token="nonsense")):
            error = await refusal(stub.ListAttestations(wrong))
            assert error.reason == ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN


async def test_attest__no_endpoint_answers__unavailable_and_nothing_signed(bench: Bench) -> None:
    request = await bench.fill(await bridge_order(bench.network, bench.clients))
    dead = NetworkConfig(
        chains=tuple(chain.model_copy(update={"rpc_urls": ("http://127.0.0.1:1",)}) for chain in bench.network.chains)
    )
    async with attester(bench.settings(local_accounts("attester")[0], dead)) as stub:
        error = await refusal(stub.AttestFill(request))
    assert error.reason == ErrorReason.ERROR_REASON_CHAIN_UNAVAILABLE


async def test_journal__different_statements_at_the_same_time__one_stands(bench: Bench) -> None:
    account = local_accounts("attester")[0]
    async with attester(bench.settings(account)):
        pool = await open_pool(bench.dsn)
        async with pool:
            journal = Journal(pool, account.address)
            outcomes = await asyncio.gather(
                *(journal.record(statement(n), bytes([n]) * 65) for n in range(10)), return_exceptions=True
            )
            stands = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
            refused = [outcome for outcome in outcomes if isinstance(outcome, ConflictingAttestation)]
            assert (len(stands), len(refused)) == (1, 9)
            assert await pool.fetchval("SELECT count(*) FROM attester.journal") == 1
            for change in ("UPDATE attester.journal SET solver = solver", *EMPTYING):
                with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="only grows"):
                    await pool.execute(change)


async def test_settings__wrong_key_file_or_database__one_clear_line(bench: Bench) -> None:
    settings = bench.settings(local_accounts("attester")[0])
    for change in ({"key": "file:/nowhere"}, {"network_file": Path("/nowhere")}, {"postgres_dsn": ""}):
        with pytest.raises(SettingsError):
            async with build(settings.model_copy(update=change)):
                pass


def statement(number: int) -> Statement:
    word = Bytes32(bytes([number]) * 32)
    same = Bytes32(bytes(32))
    return Statement(IntentId(same), same, word, ChainId(1), same, same, word, same, number)
