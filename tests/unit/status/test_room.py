"""Places are given by class, by caller and in all, and each that is given back can be taken again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.domain.errors import ResourceExhausted
from intentmesh.rpc.principals import ANONYMOUS, Principal, PrincipalKind
from intentmesh.status.metrics import REFUSED_STREAMS
from intentmesh.status.room import Bounds, Room
from intentmesh.v1.error_pb2 import ErrorReason

BOUNDS = Bounds(all_callers=10, each_caller=3, each_service=6, reserved=4, reserved_for_operators=1)
SHOP, OTHER_SHOP = Principal(PrincipalKind.SERVICE, "shop"), Principal(PrincipalKind.SERVICE, "other")
OPERATOR, USER = Principal(PrincipalKind.OPERATOR, "ops"), Principal(PrincipalKind.USER, "0x1")
Caller = tuple[Principal, str]
ONE, TWO, THREE = ((ANONYMOUS, f"203.0.113.{n}") for n in (1, 2, 3))


def _enter(room: Room, caller: Caller, places: int) -> None:
    for _ in range(places):
        room.enter(*caller)


def _refused(room: Room, caller: Caller, full: str) -> ResourceExhausted:
    counter = REFUSED_STREAMS.labels(full)._value
    before = counter.get()
    with pytest.raises(ResourceExhausted) as caught:
        room.enter(*caller)
    assert counter.get() == before + 1
    assert caught.value.reason == ErrorReason.ERROR_REASON_OVERLOADED
    assert caught.value.retry_after is not None
    return caught.value


@pytest.mark.parametrize(("caller", "most"), [(ONE, 3), ((USER, "203.0.113.9"), 3), ((SHOP, "10.0.0.1"), 6)])
def test_enter__caller_has_all_that_it_may_have__is_refused_and_others_are_not(caller: Caller, most: int) -> None:
    room = Room(BOUNDS)
    _enter(room, caller, most)
    assert _refused(room, caller, "CALLER").metadata == {"limit": str(most)}
    other = OTHER_SHOP if caller[0] is SHOP else ANONYMOUS
    room.enter(other, "203.0.113.2")


def test_enter__addresses_of_one_site__are_one_caller() -> None:
    room = Room(BOUNDS)
    for host in (1, 2, 3):
        room.enter(ANONYMOUS, f"2001:db8::{host}")
    _refused(room, (ANONYMOUS, "2001:db8::4"), "CALLER")


def test_enter__strangers_have_all_but_the_reserve__services_and_then_operators_still_get_in() -> None:
    room = Room(BOUNDS)
    _enter(room, ONE, 3)
    _enter(room, TWO, 3)
    for caller in (THREE, (USER, "")):
        assert _refused(room, caller, "RESERVE").metadata == {}
    _enter(room, (SHOP, ""), 3)
    _refused(room, (OTHER_SHOP, ""), "RESERVE")
    room.enter(OPERATOR, "")
    _refused(room, (OPERATOR, ""), "SERVER")


def test_enter__operator__is_bound_by_the_server_alone() -> None:
    room = Room(BOUNDS)
    _enter(room, (OPERATOR, ""), BOUNDS.all_callers)
    _refused(room, (OPERATOR, ""), "SERVER")


def test_leave__place_is_given_back__can_be_taken_again() -> None:
    room = Room(BOUNDS)
    _enter(room, ONE, 2)
    room.leave(room.enter(*ONE))
    room.enter(*ONE)
    _refused(room, ONE, "CALLER")


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([ONE, TWO, (USER, ""), (SHOP, ""), (OPERATOR, "")]))))
def test_room__any_coming_and_going__keeps_every_bound_and_forgets_who_has_left(
    moves: list[tuple[bool, Caller]],
) -> None:
    room = Room(BOUNDS)
    held: list[tuple[Caller, str]] = []
    for comes, caller in moves:
        if not comes and held:
            room.leave(held.pop()[1])
            continue
        try:
            held.append((caller, room.enter(*caller)))
        except ResourceExhausted:
            continue
        assert sum(other == caller for other, _ in held) <= BOUNDS.of_each(caller[0].kind)
        assert len(held) <= BOUNDS.of_all(caller[0].kind)
    for _, who in held:
        room.leave(who)
    _enter(room, (OPERATOR, ""), BOUNDS.all_callers)
