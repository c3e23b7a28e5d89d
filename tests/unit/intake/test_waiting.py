"""Which accepts are stored together, and who waits behind whom."""

import pytest
from intentmesh.domain.types import Bytes32
from intentmesh.intake.waiting import Accept, Acceptance, Outcome, Waiting
from intentmesh.store.admission import RequestKey
from intentmesh.store.intents import NewIntent, RequestIdUse

from tests.fixtures.intents import accepted_event, new_intent

LIMIT = 512


def _accept(new: NewIntent | None = None, request_id: str = "", told: list[Outcome] | None = None) -> Accept:
    new = new or new_intent()
    use = (RequestKey("p", request_id), RequestIdUse(Bytes32(bytes(32)), new.intent_id)) if request_id else None
    return Accept(new, accepted_event(new), (told if told is not None else []).append, use)


def _waiting(*accepts: Accept) -> Waiting:
    waiting = Waiting()
    for accept in accepts:
        waiting.add(accept)
    return waiting


def _request_ids(group: list[Accept]) -> list[str | None]:
    return [accept.request and accept.request[0].request_id for accept in group]


def test_take_group__same_submission_twice__shares_one_outcome_and_one_is_the_creator() -> None:
    told: list[Outcome] = []
    new = new_intent()
    waiting = _waiting(_accept(new, told=told), _accept(new, told=told))
    (accept,) = waiting.take_group(LIMIT)
    accept.finish(Acceptance(new.intent_id, 1, 1, created=True))
    assert [outcome.created for outcome in told if isinstance(outcome, Acceptance)] == [True, False]
    assert not waiting


def test_take_group__one_intent_under_two_request_ids__waits_for_the_next_group() -> None:
    new, other = new_intent(), new_intent()
    waiting = _waiting(_accept(new, "a"), _accept(new, "b"), _accept(other, "a"), _accept())
    assert _request_ids(waiting.take_group(LIMIT)) == ["a", None]
    assert _request_ids(waiting.take_group(LIMIT)) == ["b", "a"]
    assert not waiting


def test_take_group__in_the_way_of_two__waits_behind_both() -> None:
    new, other = new_intent(), new_intent()
    waiting = _waiting(_accept(new, "a"), _accept(other, "b"), _accept(new, "b"), _accept(new, "c"))
    assert _request_ids(waiting.take_group(LIMIT)) == ["a", "b"]
    assert _request_ids(waiting.take_group(LIMIT)) == ["b"]
    assert _request_ids(waiting.take_group(LIMIT)) == ["c"]
    assert not waiting


def test_take_group__same_submission_behind_another__shares_its_outcome_there() -> None:
    told: list[Outcome] = []
    new = new_intent()
    waiting = _waiting(_accept(new, "a"), *(_accept(new, "b", told) for _ in range(50)))
    assert _request_ids(waiting.take_group(LIMIT)) == ["a"]
    assert len(waiting) == 50
    (accept,) = waiting.take_group(LIMIT)
    accept.finish(Acceptance(new.intent_id, 1, 1, created=False))
    assert (len(told), len(waiting)) == (50, 0)


def test_take_group__more_than_fit__are_left_in_their_order() -> None:
    accepts = [_accept() for _ in range(LIMIT + 3)]
    waiting = _waiting(*accepts)
    assert waiting.take_group(LIMIT) == accepts[:LIMIT]
    assert waiting.take_group(LIMIT) == accepts[LIMIT:]


def test_take_group__many_under_one_request_id__delay_nobody_and_are_not_looked_at_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0
    hashed = RequestKey.__hash__

    def counted(key: RequestKey) -> int:
        nonlocal looks
        looks += 1
        return hashed(key)

    other, crowd = _accept(), [_accept(request_id="a") for _ in range(2_000)]
    waiting = _waiting(*crowd, other)
    monkeypatch.setattr(RequestKey, "__hash__", counted)
    groups = [waiting.take_group(LIMIT) for _ in range(2_000)]
    assert groups[0] == [crowd[0], other]
    assert [accept for group in groups[1:] for accept in group] == crowd[1:]
    assert looks < 20 * len(crowd)
    assert not waiting


def test_take_all__whoever_waits_and_behind_whomever__is_there_once() -> None:
    new = new_intent()
    accepts = [_accept(new, "a"), _accept(new, "b"), _accept(new, "b"), _accept()]
    waiting = _waiting(*accepts)
    taken = waiting.take_group(1)
    left = waiting.take_all()
    assert sum(1 + len(accept.followers) for accept in (*taken, *left)) == len(accepts)
    assert not waiting
    assert not waiting.take_group(LIMIT)
