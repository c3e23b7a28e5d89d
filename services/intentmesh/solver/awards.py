"""Whether the mesh has made an award. Anybody may call Execute, and what is needed for a forged call is public."""

from typing import Final, Protocol

import grpc

from intentmesh.domain.errors import FailedPrecondition, NotFound, PermissionDenied
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address, format_address
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb
from intentmesh.v1.event_pb2 import AwardDetail
from intentmesh.v1.executor_service_pb2 import GetExecutionRequest
from intentmesh.v1.executor_service_pb2_grpc import ExecutorServiceStub

CALL_SECONDS: Final = 5.0


class AwardBook(Protocol):
    """Anybody who knows the awards of the mesh."""

    async def check(self, request: pb.ExecuteRequest) -> None:
        """That this award was made, to this solver, and that the caller has it from the mesh.

        Raises PermissionDenied where it was not, FailedPrecondition STALE_AWARD where a newer one was made, other
        MeshErrors where that cannot be known now.
        """
        ...


class ExecutorAwards:
    """The mesh's executor stores each award before its winner hears of it."""

    def __init__(self, channel: grpc.aio.Channel, solver: Address) -> None:
        self._stub = ExecutorServiceStub(channel)
        self._solver = format_address(solver)

    async def check(self, request: pb.ExecuteRequest) -> None:
        newest = await self._newest(request.intent_id)
        if newest.award_number > request.award_number:
            raise stale(newest.award_number)
        if (newest.award_number, newest.solver) != (request.award_number, self._solver):
            raise PermissionDenied("the mesh has made no such award")
        if newest.token_hash != "0x" + keccak(request.award_token).hex():
            raise wrong_token()

    async def _newest(self, intent_id: str) -> AwardDetail:
        """With the number 0 where there is none."""
        try:
            answer = await self._stub.GetExecution(GetExecutionRequest(intent_id=intent_id), timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            told = mesh_error_from_rpc(error)
            if isinstance(told, NotFound):
                raise PermissionDenied("the mesh does not know this intent") from None
            raise told from error
        return max(answer.execution.awards, key=lambda award: award.award_number, default=AwardDetail())


def stale(newest: int) -> FailedPrecondition:
    """The refusal of an award that a newer one has replaced."""
    return FailedPrecondition(
        f"award {newest} of this intent is newer",
        reason=reasons.ERROR_REASON_STALE_AWARD,
        metadata={"award_number": str(newest)},
    )


def wrong_token() -> PermissionDenied:
    """The refusal of a caller who does not have the award from the mesh."""
    return PermissionDenied("the token is not that of the award")
