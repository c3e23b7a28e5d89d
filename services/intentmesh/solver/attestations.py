"""Where the signatures come from that prove a fill across chains."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import grpc

from intentmesh.domain.types import Bytes32, IntentId, format_intent_id, parse_bytes32
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.solver.outcomes import NotYet
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1.attester_service_pb2 import FillAttestation
from intentmesh.v1.executor_service_pb2 import GetFillAttestationsRequest
from intentmesh.v1.executor_service_pb2_grpc import ExecutorServiceStub

CALL_SECONDS: Final = 10.0
NOT_PROVEN_RETRY_SECONDS: Final = 1.0


class AttestationSource(Protocol):
    """Anybody who collects the attesters' signatures."""

    async def of(self, intent_id: IntentId) -> Mapping[Bytes32, Sequence[FillAttestation]]:
        """By output hash. Raises NotYet until every output has enough signatures, MeshError otherwise."""
        ...


class ExecutorAttestations:
    """The mesh's executor collects them."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ExecutorServiceStub(channel)

    async def of(self, intent_id: IntentId) -> Mapping[Bytes32, Sequence[FillAttestation]]:
        request = GetFillAttestationsRequest(intent_id=format_intent_id(intent_id))
        try:
            answer = await self._stub.GetFillAttestations(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            told = mesh_error_from_rpc(error)
            if told.reason == reasons.ERROR_REASON_NOT_PROVEN:
                raise NotYet(told.message, told.retry_after or NOT_PROVEN_RETRY_SECONDS) from None
            raise told from error
        return {parse_bytes32(output.output_hash): tuple(output.attestations) for output in answer.outputs}
