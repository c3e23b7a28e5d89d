"""What the writer does with what waits; how it is stored is shown on a real database."""

import pytest
from intentmesh.domain.errors import ResourceExhausted
from intentmesh.intake import group_commit
from intentmesh.intake.group_commit import Accept, Acceptance, GroupCommit, Outcome
from intentmesh.store.admission import RequestKey
from intentmesh.store.intents import NewIntent, RequestIdUse
from intentmesh.v1.error_pb2 import ErrorReason

from tests.fixtures.intents import accepted_event, new_intent


def _writer() -> GroupCommit:
    return GroupCommit(None, None)  # type: ignore[arg-type]  # nothing is written


def _accept(told: list[Outcome], new: NewIntent | None = None, request_id: str = "") -> Accept:
    new = new or new_intent()
    use = (RequestKey("p", request_id), RequestIdUse(b"", new.intent_id)) if request_id else None  # type: ignore[arg-type]
    return Accept(new, accepted_event(new), told.append, use)


def test_add__too_many_wait__is_overloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING", 2)
    writer, told = _writer(), []
    for _ in range(2):
        writer.add(_accept(told))
    with pytest.raises(ResourceExhausted) as caught:
        writer.add(_accept(told))
    assert caught.value.reason == ErrorReason.ERROR_REASON_OVERLOADED
    assert caught.value.retry_after


def test_group__same_submission_twice__shares_one_outcome_and_one_is_the_creator() -> None:
    writer, first, second = _writer(), [], []
    new = new_intent()
    writer.add(_accept(first, new))
    writer.add(_accept(second, new))
    (accept,) = writer._take_group()
    accept.finish(Acceptance(new.intent_id, 1, 1, created=True))
    assert [outcome.created for outcome in (*first, *second) if isinstance(outcome, Acceptance)] == [True, False]


def test_group__one_intent_under_two_request_ids__waits_for_the_next_group() -> None:
    writer, told = _writer(), []
    new, other = new_intent(), new_intent()
    for accept in (_accept(told, new, "a"), _accept(told, new, "b"), _accept(told, other, "a"), _accept(told)):
        writer.add(accept)
    group = writer._take_group()
    assert [accept.request and accept.request[0].request_id for accept in group] == ["a", None]
    assert [accept.request and accept.request[0].request_id for accept in writer._take_group()] == ["b", "a"]


def test_group__more_than_fit__are_left_in_their_order() -> None:
    writer, told = _writer(), []
    accepts = [_accept(told) for _ in range(group_commit.MAX_GROUP + 3)]
    for accept in accepts:
        writer.add(accept)
    assert writer._take_group() == accepts[: group_commit.MAX_GROUP]
    assert writer._take_group() == accepts[group_commit.MAX_GROUP :]
