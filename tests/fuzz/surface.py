"""What there is to attack: every RPC of every server, read from the descriptors, and the doors it can be reached by."""

import importlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from google.protobuf import message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from intentmesh.rpc.reflection import SERVICE_MODULES


class Door(StrEnum):
    """A server, or the gateway before four of them. A name and no address: an input outlives its mesh."""

    GATEWAY = "gateway"
    INTAKE = "intake"
    SOLVER_REGISTRY = "solver_registry"
    EXECUTOR = "executor"
    STATUS = "status"
    SOLVER = "solver"
    ATTESTER_1 = "attester-1"
    ATTESTER_2 = "attester-2"


BEHIND_GATEWAY = frozenset((Door.INTAKE, Door.SOLVER_REGISTRY, Door.EXECUTOR, Door.STATUS))
SERVICES = tuple(door for door in Door if door is not Door.GATEWAY)
# Which server answers for which service of the protos.
_SERVED_BY = {
    "IntakeService": (Door.INTAKE,),
    "SolverRegistryService": (Door.SOLVER_REGISTRY,),
    "ExecutorService": (Door.EXECUTOR,),
    "StatusService": (Door.STATUS,),
    "SolverService": (Door.SOLVER,),
    "AttesterService": (Door.ATTESTER_1, Door.ATTESTER_2),
}


@dataclass(frozen=True, slots=True)
class Rpc:
    """One method of one service."""

    path: str
    request: type[Message]
    response: type[Message]
    request_streaming: bool
    response_streaming: bool
    doors: tuple[Door, ...]

    @property
    def name(self) -> str:
        """`Service/Method`, for people."""
        return self.path.rsplit(".", 1)[-1]

    @property
    def unary(self) -> bool:
        return not self.request_streaming and not self.response_streaming

    def server_behind(self, door: Door) -> Door | None:
        """Whose handler answers a call at this door; None where it depends on the gateway (health, reflection)."""
        if door is not Door.GATEWAY:
            return door
        behind = [one for one in self.doors if one in BEHIND_GATEWAY]
        return behind[0] if len(behind) == 1 else None


@cache
def all_rpcs() -> tuple[Rpc, ...]:
    """Every RPC of the mesh, health and reflection included, in a fixed order."""
    files = [importlib.import_module(f"intentmesh.v1.{name}_pb2").DESCRIPTOR for name in SERVICE_MODULES]
    return tuple(rpc for file in (*files, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR) for rpc in _of_file(file))


@cache
def rpc_of(path: str) -> Rpc | None:
    """The RPC at a path; None where no server has one."""
    return next((rpc for rpc in all_rpcs() if rpc.path == path), None)


def _of_file(file: FileDescriptor) -> list[Rpc]:
    return [
        _rpc(service.full_name, service.name, method)
        for service in file.services_by_name.values()
        for method in service.methods
    ]


def _rpc(service_full_name: str, service: str, method: MethodDescriptor) -> Rpc:
    servers = _SERVED_BY.get(service, SERVICES)
    public = service not in _SERVED_BY or bool(BEHIND_GATEWAY & set(servers))
    return Rpc(
        path=f"/{service_full_name}/{method.name}",
        request=message_factory.GetMessageClass(method.input_type),
        response=message_factory.GetMessageClass(method.output_type),
        request_streaming=method.client_streaming,
        response_streaming=method.server_streaming,
        doors=(*servers, Door.GATEWAY) if public else servers,
    )
