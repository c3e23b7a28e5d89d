"""A job: one intent this solver was given, under its newest award. Pure.

ACCEPTED → OPENING → OPENED → FILLING → FILLED → PROVING → SETTLED, each stage told once and in this order; stages that
the chain shows as done are skipped. From every stage before SETTLED a job may end as RELEASED or FAILED. A higher award
starts the stages anew: what was done under the lower one is found again on chain.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from intentmesh.domain.types import Address, ChainId, IntentId
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb
from intentmesh.v1.intent_pb2 import ChainTransaction

Stage: TypeAlias = pb.ExecuteStage.ValueType
Reason: TypeAlias = reasons.ErrorReason.ValueType

ENDED: frozenset[Stage] = frozenset(
    {pb.EXECUTE_STAGE_SETTLED, pb.EXECUTE_STAGE_RELEASED, pb.EXECUTE_STAGE_FAILED},
)
# From here on the outputs may be paid, or are.
COMMITTED: frozenset[Stage] = frozenset(
    {pb.EXECUTE_STAGE_FILLING, pb.EXECUTE_STAGE_FILLED, pb.EXECUTE_STAGE_PROVING},
)
# The outputs are paid or will never be: nothing is held back for them any more.
FREES_INVENTORY: frozenset[Stage] = ENDED | {pb.EXECUTE_STAGE_FILLED, pb.EXECUTE_STAGE_PROVING}

Reservations = Mapping[tuple[ChainId, Address], int]
"""Output tokens a job needs: (chain, token) → smallest units."""


@dataclass(frozen=True, slots=True)
class Funds:
    """What this solver holds, in smallest units, as read after so many frees of tokens that were held back.

    Whatever is freed later may have been paid since: then the balances are outdated.
    """

    balances: Mapping[tuple[ChainId, Address], int]
    frees: int


@dataclass(frozen=True, slots=True)
class Job:
    """The stored state of a job. `update_number` is that of its newest update."""

    intent_id: IntentId
    award_number: int
    request: pb.ExecuteRequest
    stage: Stage
    update_number: int

    @property
    def ended(self) -> bool:
        return self.stage in ENDED


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be told about a job; becomes its next update if it brings the job on."""

    stage: Stage
    message: str
    reason: Reason = reasons.ERROR_REASON_UNSPECIFIED
    transaction: ChainTransaction | None = None


def advances(current: Stage, new: Stage) -> bool:
    """Whether a job at `current` may be told to be at `new`."""
    if current in ENDED:
        return False
    return new in ENDED or new > current


def to_update(report: Report, number: int) -> pb.ExecuteResponse:
    """The update with its number, dated now."""
    update = pb.ExecuteResponse(update_number=number, stage=report.stage, message=report.message, reason=report.reason)
    if report.transaction is not None:
        update.transaction.CopyFrom(report.transaction)
    update.create_time.FromNanoseconds(time.time_ns())
    return update
