"""The solver makes itself known, and stays known, whatever the registry goes through."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from random import Random

import pytest
from intentmesh.domain.digests import heartbeat_digest, register_solver_digest
from intentmesh.domain.errors import NotFound, Unavailable
from intentmesh.domain.signatures import recover
from intentmesh.domain.types import parse_address
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.server import Service, serving
from intentmesh.rpc.settings import ServiceSettings
from intentmesh.solver.registration import Registration
from intentmesh.transactions.signers import Signer
from intentmesh.v1 import solver_registry_service_pb2 as pb
from intentmesh.v1.solver_registry_service_pb2_grpc import (
    SolverRegistryServiceServicer,
    add_SolverRegistryServiceServicer_to_server,
)

from tests.integration.solver.world import LOCAL, SOLVER

ENDPOINT = "dns:///solver:50051"
WAIT_SECONDS = 20.0


class ForgetfulRegistry(SolverRegistryServiceServicer):
    """Refuses the first registration, forgets the solver after the second heartbeat."""

    def __init__(self) -> None:
        self.registrations: list[pb.RegisterSolverRequest] = []
        self.refused = 0
        self.heartbeats: list[pb.HeartbeatRequest] = []
        self.known_again = asyncio.Event()

    async def RegisterSolver(  # noqa: N802 - the proto's name
        self,
        request: pb.RegisterSolverRequest,
        context: object,  # noqa: ARG002 - the signature is gRPC's
    ) -> pb.RegisterSolverResponse:
        if self.refused == 0:
            self.refused += 1
            raise Unavailable("starting")
        self.registrations.append(request)
        return pb.RegisterSolverResponse(solver=pb.Solver(solver_id=request.address.lower()))

    async def Heartbeat(  # noqa: N802 - as above
        self,
        request: pb.HeartbeatRequest,
        context: object,  # noqa: ARG002 - as above
    ) -> pb.HeartbeatResponse:
        self.heartbeats.append(request)
        if len(self.heartbeats) == 2:
            raise NotFound("never heard of it")
        if len(self.registrations) == 2:
            self.known_again.set()
        assert request.solver_id == self.registrations[-1].address.lower()
        return pb.HeartbeatResponse(interval_seconds=1)


@pytest.fixture
async def registry() -> AsyncIterator[tuple[ForgetfulRegistry, str]]:
    servicer = ForgetfulRegistry()
    service = Service("registry", partial(add_SolverRegistryServiceServicer_to_server, servicer), ())
    async with serving(ServiceSettings(listen=LOCAL, metrics_listen=LOCAL, grace_seconds=1), service) as running:
        yield servicer, running.target


async def test_run__registry_refuses_then_forgets__is_registered_again_with_signatures_of_its_own(
    registry: tuple[ForgetfulRegistry, str],
) -> None:
    servicer, target = registry
    async with open_channel(target) as channel:
        registration = Registration(channel, Signer(SOLVER.private_key), ENDPOINT, "test", Random(1))
        task = asyncio.create_task(registration.run())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await servicer.known_again.wait()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    assert servicer.refused == 1
    assert len(servicer.registrations) == 2
    for request in servicer.registrations:
        digest = register_solver_digest(SOLVER.address, ENDPOINT, request.signed_time)
        assert recover(digest, request.signature) == SOLVER.address == parse_address(request.address)
        assert request.endpoint == ENDPOINT
        assert abs(time.time() - request.signed_time) < WAIT_SECONDS
    for beat in servicer.heartbeats:
        assert recover(heartbeat_digest(SOLVER.address, beat.signed_time), beat.signature) == SOLVER.address
        assert abs(time.time() - beat.signed_time) < WAIT_SECONDS
