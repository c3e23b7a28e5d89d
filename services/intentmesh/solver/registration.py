"""Makes itself known to the registry and stays known: registration, then heartbeats, all signed, retried for ever."""

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Final

import grpc
import structlog

from intentmesh.domain.backoff import full_jitter
from intentmesh.domain.digests import heartbeat_digest, register_solver_digest
from intentmesh.domain.errors import FailedPrecondition, MeshError, NotFound
from intentmesh.domain.types import format_address
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.solver import metrics
from intentmesh.transactions.signers import Signer
from intentmesh.v1.solver_registry_service_pb2 import HeartbeatRequest, RegisterSolverRequest
from intentmesh.v1.solver_registry_service_pb2_grpc import SolverRegistryServiceStub

_log = structlog.get_logger(__name__)

CALL_SECONDS: Final = 10.0
RETRY_BASE_SECONDS: Final = 0.5
RETRY_CAP_SECONDS: Final = 15.0
# Where the registry names no interval.
DEFAULT_HEARTBEAT_SECONDS: Final = 10.0
# A heartbeat comes well before it is due.
HEARTBEAT_SHARE: Final = 0.5


class Registration:
    """One solver's entry in the registry."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        signer: Signer,
        endpoint: str,
        name: str,
        random: Random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stub = SolverRegistryServiceStub(channel)
        self._signer = signer
        self._endpoint = endpoint
        self._name = name
        self._random = random
        self._clock = clock
        # As the registry told: our clock was set back, or a replica's is ahead.
        self._newest_signed = 0

    async def run(self) -> None:
        """Register and send heartbeats until cancelled; a registry that forgot the solver is told again."""
        failures = 0
        while True:
            try:
                solver_id = await self._register()
                metrics.REGISTERED.set(1)
                await self._beat(solver_id)
                failures = 0
                await asyncio.sleep(RETRY_BASE_SECONDS)
            except MeshError as error:
                failures += 1
                metrics.REGISTERED.set(0)
                self._learn_from(error)
                _log.warning("registration_set_back", error=error.message, failures=failures)
                backoff = full_jitter(failures, RETRY_BASE_SECONDS, RETRY_CAP_SECONDS, self._random)
                await asyncio.sleep(max(backoff, error.retry_after or 0.0))

    def _time_to_sign(self) -> int:
        """Unix seconds; later than what is known to be signed where the clock is not, since nothing else counts."""
        now = int(self._clock())
        if now > self._newest_signed:
            return now
        self._newest_signed += 1
        return self._newest_signed

    def _learn_from(self, error: MeshError) -> bool:
        """Whether the registry has refused a time since a newer one was signed, and told which."""
        told = error.metadata.get("signed_time", "") if isinstance(error, FailedPrecondition) else ""
        if not told.isdecimal():
            return False
        self._newest_signed = int(told)
        return True

    async def _register(self) -> str:
        signed_time = self._time_to_sign()
        address = self._signer.address
        signature = self._signer.sign_digest(register_solver_digest(address, self._endpoint, signed_time))
        request = RegisterSolverRequest(
            address=format_address(address),
            endpoint=self._endpoint,
            name=self._name,
            signed_time=signed_time,
            signature=signature,
        )
        try:
            answer = await self._stub.RegisterSolver(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise mesh_error_from_rpc(error) from error
        _log.info("registered", solver_id=answer.solver.solver_id, state=answer.solver.state)
        return answer.solver.solver_id

    async def _beat(self, solver_id: str) -> None:
        """Returns when the registry does not know the solver any more; raises MeshError when it does not answer."""
        while True:
            signed_time = self._time_to_sign()
            signature = self._signer.sign_digest(heartbeat_digest(self._signer.address, signed_time))
            request = HeartbeatRequest(solver_id=solver_id, signed_time=signed_time, signature=signature)
            try:
                answer = await self._stub.Heartbeat(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                told = mesh_error_from_rpc(error)
                if isinstance(told, NotFound):
                    metrics.REGISTERED.set(0)
                    return
                if self._learn_from(told):
                    await asyncio.sleep(RETRY_BASE_SECONDS)
                    continue
                raise told from error
            interval = answer.interval_seconds or DEFAULT_HEARTBEAT_SECONDS
            await asyncio.sleep(interval * HEARTBEAT_SHARE)
