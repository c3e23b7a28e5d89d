"""A swap on one chain may be proven by the attesters instead of by the output settler itself."""

import time
from dataclasses import replace

from intentmesh.cli.mesh import contracts_of, parse_amount
from intentmesh.client import MeshClient
from intentmesh.client.order_builder import build_order, sign_permit2
from intentmesh.domain.convert import order_to_proto
from intentmesh.domain.order import derive_type
from intentmesh.domain.types import parse_address, to_bytes32
from intentmesh.embedded.endpoints import Endpoints
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, TransactionKind
from intentmesh.v1.status_service_pb2 import WatchEnd

from tests.fixtures.mesh import RunningMesh


async def test_swap__named_oracle_is_the_attested_one__attesters_prove_it_and_it_settles(mesh: RunningMesh) -> None:
    endpoints = Endpoints.model_validate(mesh.endpoints)
    alpha, user = endpoints.chain("alpha"), endpoints.account("user")
    contracts = contracts_of(alpha)
    plain = build_order(
        user=parse_address(user.address),
        recipient=parse_address(user.address),
        origin=contracts,
        destination=contracts,
        sell=parse_amount(alpha, "USDC:40"),
        buy=parse_amount(alpha, "WETH:0.0195"),
        now=int(time.time()),
    )
    output = replace(plain.outputs[0], oracle=to_bytes32(contracts.oracle))
    order = replace(plain, input_oracle=contracts.oracle, outputs=(output,))
    signed = sign_permit2(order, contracts, bytes.fromhex(user.private_key[2:]))

    async with MeshClient(endpoints.gateway) as client:
        answer = await client.submit(order_to_proto(order), signed.signature, derive_type(order))
        phases = [event.phase async for event in client.watch(answer.intent_id, end=WatchEnd.WATCH_END_SETTLED)]
        intent = await client.get_intent(answer.intent_id)
    assert phases[-1] == IntentPhase.INTENT_PHASE_SETTLED
    assert intent.status == IntentStatus.INTENT_STATUS_COMPLETED
    assert TransactionKind.TRANSACTION_KIND_PROVE in {one.kind for one in intent.execution.transactions}
