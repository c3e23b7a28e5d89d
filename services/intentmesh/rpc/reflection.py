"""Reflection that names every public service of the mesh on every server, so that the gateway may ask any of them."""

import importlib
from collections.abc import Iterable

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

SERVICE_MODULES = (
    "intake_service",
    "solver_registry_service",
    "solver_service",
    "executor_service",
    "attester_service",
    "status_service",
)
"""Files of protos/intentmesh/v1 that define services."""


def public_services() -> tuple[str, ...]:
    """Full names of all services of intentmesh.v1, in the order of the files."""
    modules = [importlib.import_module(f"intentmesh.v1.{name}_pb2") for name in SERVICE_MODULES]
    return tuple(s.full_name for module in modules for s in module.DESCRIPTOR.services_by_name.values())


def add_reflection(server: grpc.aio.Server, more: Iterable[str] = ()) -> None:
    """Answer reflection on this server, for all public services, health and reflection itself."""
    names = dict.fromkeys((*public_services(), *more, health.SERVICE_NAME, reflection.SERVICE_NAME))
    reflection.enable_server_reflection(tuple(names), server, descriptor_pool.Default())
