"""Entering and leaving the registry, and what an operator decides about it."""

import time
from collections.abc import Callable

import structlog

from intentmesh.domain.digests import deregister_solver_digest, heartbeat_digest, register_solver_digest
from intentmesh.domain.errors import FailedPrecondition, InvalidArgument, NotFound, Unauthenticated, Unavailable
from intentmesh.domain.signatures import recover
from intentmesh.domain.types import Address, format_address, parse_address
from intentmesh.rpc import metrics
from intentmesh.solver_registry.asking import SolverCaller, checked_endpoint
from intentmesh.solver_registry.budgets import Budgets
from intentmesh.solver_registry.eligibility import solver_id_of
from intentmesh.solver_registry.metrics import FORGOTTEN
from intentmesh.solver_registry.roster import Roster, standing_of
from intentmesh.store import solvers as store
from intentmesh.store.pool import Pool
from intentmesh.store.solvers import NewSolver, SolverRow
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.solver_registry_service_pb2 import (
    DeregisterSolverRequest,
    HeartbeatRequest,
    RegisterSolverRequest,
    SolverState,
    UpdateSolverRequest,
)

log = structlog.get_logger()

RETRY_SECONDS = 2.0


class Registration:
    """Changes the roster in the store."""

    def __init__(
        self,
        pool: Pool,
        caller: SolverCaller,
        roster: Roster,
        budgets: Budgets,
        *,
        window_seconds: int,
        strangers_kept: int,
        strangers_kept_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._caller = caller
        self._roster = roster
        self._budgets = budgets
        self._window_seconds = window_seconds
        self._strangers_kept = strangers_kept
        self._strangers_kept_seconds = strangers_kept_seconds
        self._clock = clock

    async def register(self, request: RegisterSolverRequest) -> SolverRow:
        """Enter a solver, or replace its endpoint. Raises InvalidArgument, FailedPrecondition or Unavailable.

        An unapproved solver is not called: an endpoint is just a claim until somebody vouches for who makes it.
        """
        address = parse_address(request.address)
        endpoint = checked_endpoint(request.endpoint)
        self._check_time(request.signed_time)
        digest = register_solver_digest(address, request.endpoint, request.signed_time)
        _check_signer(digest, request.signature, address)
        solver_id = solver_id_of(request.address)
        async with self._pool.acquire() as conn:
            known = await store.get_solver(conn, solver_id)
        approved = self._roster.approves(solver_id) or (known is not None and known.approved)
        capabilities = await self._capabilities(endpoint, address) if approved else b""
        new = NewSolver(solver_id, address, endpoint, request.name, request.signed_time, capabilities)
        async with self._pool.acquire() as conn:
            row = await store.upsert_solver(conn, new)
        if row is None:
            raise _stale(request.signed_time if known is None else known.signed_time)
        if known is None and not approved:
            await self.forget_strangers()
        log.info("solver_registered", solver_id=solver_id, endpoint=endpoint, approved=approved)
        return row

    async def deregister(self, request: DeregisterSolverRequest) -> None:
        """Take a solver out; its history stays."""
        address = parse_address(request.address)
        self._check_time(request.signed_time)
        _check_signer(deregister_solver_digest(address, request.signed_time), request.signature, address)
        solver_id = solver_id_of(request.address)
        async with self._pool.acquire() as conn:
            known = await store.get_solver(conn, solver_id)
            if known is None:
                raise no_such_solver(solver_id)
            if not await store.deregister_solver(conn, solver_id, request.signed_time):
                raise _stale(known.signed_time)
        log.info("solver_deregistered", solver_id=solver_id)

    async def update(self, request: UpdateSolverRequest) -> SolverRow:
        """An operator approves or switches off."""
        if request.state not in (SolverState.SOLVER_STATE_ACTIVE, SolverState.SOLVER_STATE_DISABLED):
            raise InvalidArgument("the state must be ACTIVE (approve) or DISABLED (switch off)")
        solver_id = request.solver_id.lower()
        active = request.state == SolverState.SOLVER_STATE_ACTIVE
        async with self._pool.acquire() as conn, conn.transaction():
            locked = await store.lock_solvers(conn, [solver_id])
            if not locked:
                raise no_such_solver(solver_id)
            approved = active or locked[0].approved
            row = await store.decide_solver(conn, solver_id, approved=approved, disabled=not active)
        if row is None:
            raise no_such_solver(solver_id)
        log.info("solver_updated", solver_id=solver_id, approved=row.approved, disabled=row.disabled)
        if active:
            await self.refresh(row)
        return await self.get(solver_id)

    async def get(self, solver_id: str) -> SolverRow:
        """Raises NotFound."""
        async with self._pool.acquire() as conn:
            row = await store.get_solver(conn, solver_id.lower())
        if row is None:
            raise no_such_solver(solver_id)
        return row

    async def heartbeat(self, request: HeartbeatRequest) -> None:
        """Keep a solver eligible that has proven to live. Raises as `register`; NotFound: it should register again.

        Whoever could send it for another would have auctions wait for the dead.
        """
        address = _address_in(request.solver_id)
        if not request.signature:
            raise Unauthenticated("a heartbeat is signed by its solver")
        self._check_time(request.signed_time)
        _check_signer(heartbeat_digest(address, request.signed_time), request.signature, address)
        solver_id = solver_id_of(request.solver_id)
        async with self._pool.acquire() as conn:
            known = await store.get_solver(conn, solver_id)
        newest = None if known is None or known.deregistered_at is not None else known.signed_time
        if newest is not None and newest < request.signed_time:
            # Only now: anybody may show again what the solver has shown, and must not use up what it has left.
            await self._budgets.count_heartbeat_of(solver_id)
            async with self._pool.acquire() as conn:
                newest = await store.heartbeat(conn, solver_id, request.signed_time)
        if newest is None:
            raise no_such_solver(solver_id)
        if newest > request.signed_time:
            raise _stale(newest)

    async def refresh(self, row: SolverRow) -> None:
        """Read the capabilities again; what is known stays when the solver does not answer or lies."""
        answer = await self._caller.capabilities(row.endpoint)
        if answer is None or answer.solver.lower() != row.solver_id:
            return
        capabilities = answer.SerializeToString(deterministic=True)
        if capabilities != row.capabilities:
            async with self._pool.acquire() as conn:
                await store.save_capabilities(conn, row.solver_id, capabilities)

    async def forget_strangers(self) -> None:
        """Keep the store from being filled: anybody may register, with any number of keys."""
        async with self._pool.acquire() as conn:
            gone = await self._roster.forget_strangers(conn, self._strangers_kept, self._strangers_kept_seconds)
        if gone:
            FORGOTTEN.inc(gone)
            log.info("strangers_forgotten", count=gone)

    async def _capabilities(self, endpoint: str, address: Address) -> bytes:
        answer = await self._caller.capabilities(endpoint)
        if answer is None:
            raise Unavailable(
                "the solver's endpoint does not answer GetCapabilities; start the solver before it registers",
                metadata={"service": endpoint},
                retry_after=RETRY_SECONDS,
            )
        if answer.solver.lower() != "0x" + address.hex():
            reason = ErrorReason.ERROR_REASON_WRONG_OWNER
            raise InvalidArgument("the solver at the endpoint says that it fills from another address", reason=reason)
        return answer.SerializeToString(deterministic=True)

    def _check_time(self, signed_time: int) -> None:
        if abs(signed_time - self._clock()) > self._window_seconds:
            raise InvalidArgument(
                f"signed_time must be within {self._window_seconds} s of now; check the clock",
                reason=ErrorReason.ERROR_REASON_INVALID_FIELD,
            )


def show_standing(row: SolverRow) -> None:
    """Set the solver's gauges."""
    standing = standing_of(row)
    metrics.SOLVER_PERFORMANCE_SCORE.labels(row.solver_id).set(standing.performance_score)
    metrics.SOLVER_SUCCESS_RATE.labels(row.solver_id).set(standing.success_rate)


def no_such_solver(solver_id: str) -> NotFound:
    """For every call that names a solver."""
    return NotFound("no such solver is registered", metadata={"resource": f"solvers/{solver_id[:64]}"})


def _address_in(solver_id: str) -> Address:
    """Ids are addresses. Raises NotFound."""
    try:
        return parse_address(solver_id)
    except ValueError:
        raise no_such_solver(solver_id) from None


def _check_signer(digest: bytes, signature: bytes, address: Address) -> None:
    recovered = recover(digest, signature)
    if recovered != address:
        raise InvalidArgument(
            "the signature is not the solver's",
            reason=ErrorReason.ERROR_REASON_WRONG_OWNER,
            metadata={"recovered": format_address(recovered)},
        )


def _stale(newest: int) -> FailedPrecondition:
    """With the time that has to be passed, for a solver whose clock was set back, or is behind a replica's."""
    return FailedPrecondition(
        "the solver has signed something newer",
        reason=ErrorReason.ERROR_REASON_REQUEST_ID_REUSED,
        metadata={"signed_time": str(newest)},
    )
