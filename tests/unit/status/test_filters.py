"""Filters: all conditions hold, and who may watch with which."""

import pytest
from intentmesh.domain.errors import PermissionDenied, Unauthenticated
from intentmesh.rpc.principals import ANONYMOUS, Principal, PrincipalKind
from intentmesh.status.access import Access
from intentmesh.status.filters import WatchFilter
from intentmesh.v1.intent_pb2 import IntentStatus, IntentType
from intentmesh.v1.status_service_pb2 import WatchIntentsRequest

from tests.unit.status.events import ALICE, INTENT_ID, told_event

ALL_OF_ALICE = WatchFilter.of(WatchIntentsRequest(user=ALICE))
EVERYTHING = WatchFilter.of(WatchIntentsRequest())
BY_ID = WatchFilter.of(WatchIntentsRequest(intent_ids=[INTENT_ID]))


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (WatchIntentsRequest(), True),
        (WatchIntentsRequest(intent_ids=[INTENT_ID.upper().replace("X", "x")], user=ALICE.lower()), True),
        (WatchIntentsRequest(intent_ids=["0x" + "cd" * 32]), False),
        (WatchIntentsRequest(user="0x" + "bb" * 20), False),
        (WatchIntentsRequest(types=[IntentType.INTENT_TYPE_SWAP, IntentType.INTENT_TYPE_BRIDGE]), True),
        (WatchIntentsRequest(types=[IntentType.INTENT_TYPE_BRIDGE]), False),
        (WatchIntentsRequest(user=ALICE, statuses=[IntentStatus.INTENT_STATUS_COMPLETED]), False),
    ],
)
def test_wants__all_conditions__must_hold(request_: WatchIntentsRequest, wanted: bool) -> None:
    assert WatchFilter.of(request_).wants(told_event()) is wanted


@pytest.mark.parametrize(
    ("caller", "wanted", "refusal"),
    [
        (ANONYMOUS, BY_ID, None),
        (ANONYMOUS, ALL_OF_ALICE, Unauthenticated),
        (ANONYMOUS, EVERYTHING, Unauthenticated),
        (Principal(PrincipalKind.USER, ALICE.lower()), ALL_OF_ALICE, None),
        (Principal(PrincipalKind.USER, ALICE.lower()), EVERYTHING, PermissionDenied),
        (Principal(PrincipalKind.USER, "0x" + "bb" * 20), ALL_OF_ALICE, PermissionDenied),
        (Principal(PrincipalKind.SOLVER, "s1"), ALL_OF_ALICE, PermissionDenied),
        (Principal(PrincipalKind.OPERATOR, "o"), EVERYTHING, None),
        (Principal(PrincipalKind.EXECUTOR, "e"), EVERYTHING, None),
        (Principal(PrincipalKind.SERVICE, "billing"), ALL_OF_ALICE, PermissionDenied),
    ],
)
def test_require_watch__caller__sees_only_what_is_theirs(
    caller: Principal, wanted: WatchFilter, refusal: type[Exception] | None
) -> None:
    access = Access(anonymous_lists=False)
    if refusal is None:
        access.require_watch(wanted, caller)
    else:
        with pytest.raises(refusal):
            access.require_watch(wanted, caller)
    Access(anonymous_lists=True).require_watch(wanted, caller)
