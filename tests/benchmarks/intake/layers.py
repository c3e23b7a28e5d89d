"""What each layer of an accept costs, measured alone and in this process: microseconds of CPU time."""

import time
from collections.abc import Callable
from typing import cast

from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.intake.accept import Acceptor
from intentmesh.intake.caller import Caller
from intentmesh.intake.candidate import Candidate
from intentmesh.intake.checks.business import check_business
from intentmesh.intake.checks.chain import ChainChecks, ChainCheckSettings
from intentmesh.intake.checks.security import check_security, check_signature, signed_digests
from intentmesh.intake.checks.shape import check_shape
from intentmesh.intake.checks.structure import StructureCheck
from intentmesh.intake.checks.timing import check_timing
from intentmesh.intake.group_commit import GroupCommit
from intentmesh.intake.open_orders import UserOrders
from intentmesh.intake.policy import Policy
from intentmesh.intake.waiting import Accept
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest

from tests.benchmarks.machine import microseconds, recovery_microseconds


class _NoWriter:
    def add(self, _: Accept) -> None:
        """Nothing is stored."""


async def costs(network: NetworkConfig, raw: bytes) -> dict[str, float]:
    """By layer, of one order whose user has the funds; the least of some rounds."""
    policy, caller = Policy(), Principal(PrincipalKind.SERVICE, "benchmark")
    request = SubmitIntentRequest.FromString(raw)
    validator = RequestValidator()
    structure = StructureCheck(validator, network)
    candidate = structure.read(request)
    assert isinstance(candidate, Candidate)
    admissible = candidate.admissible()
    assert admissible is not None
    now = int(time.time())
    nothing_open = UserOrders(time.monotonic(), 0, {})
    acceptor = Acceptor(None, cast("GroupCommit", _NoWriter()))  # type: ignore[arg-type]  # nothing is read either
    by = Caller(caller, "127.0.0.1", "benchmark")
    async with ChainClients(network) as clients:
        chain = ChainChecks(clients, ChainCheckSettings(funds_cache=3600, code_cache=3600))
        assert not await chain.check_funds(admissible, nothing_open)
    assert chain.funds_suffice_now(admissible, nothing_open)
    layers: dict[str, Callable[[], object]] = {
        "parse": lambda: SubmitIntentRequest.FromString(raw),
        "structure: rules of the protos": lambda: validator.violations(request),
        "structure: all of it, with the order id": lambda: structure.read(request),
        "shape": lambda: check_shape(candidate, network, policy),
        "time": lambda: check_timing(candidate, policy, now),
        "security: lists and patterns": lambda: check_security(admissible, policy, caller),
        "security: digest": lambda: signed_digests(admissible),
        "security: digest and recovery": lambda: check_signature(admissible),
        "business": lambda: check_business(admissible, policy, nothing_open),
        "chain: from memory": lambda: chain.funds_suffice_now(admissible, nothing_open),
        "accept: what is stored, and its event": lambda: acceptor.begin(admissible, by, request, lambda _: None),
    }
    return {name: microseconds(work) for name, work in layers.items()} | {"recovery alone": recovery_microseconds()}
