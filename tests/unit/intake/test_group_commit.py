"""What the writer does with what waits; how it is stored is shown on a real database."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import pytest
from intentmesh.domain.errors import ResourceExhausted, Unavailable
from intentmesh.intake import group_commit
from intentmesh.intake.group_commit import GroupCommit
from intentmesh.intake.waiting import Accept, Outcome
from intentmesh.store.intents import NewIntent
from intentmesh.v1.error_pb2 import ErrorReason

from tests.fixtures.intents import accepted_event, new_intent


class NoAnnouncer:
    """Nothing happens that could be announced."""

    def announce(self, events: Sequence[object]) -> None:
        assert not events


def _writer() -> GroupCommit:
    return GroupCommit(None, NoAnnouncer())  # type: ignore[arg-type]  # nothing is stored


def _accept(told: list[Outcome], new: NewIntent | None = None) -> Accept:
    new = new or new_intent()
    return Accept(new, accepted_event(new), told.append)


def test_add__too_many_wait__is_overloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING", 2)
    writer, told = _writer(), []
    for _ in range(2):
        writer.add(_accept(told))
    with pytest.raises(ResourceExhausted) as caught:
        writer.add(_accept(told))
    assert caught.value.reason == ErrorReason.ERROR_REASON_OVERLOADED
    assert caught.value.retry_after


async def test_writer__a_caller_that_cannot_be_told__does_not_keep_others_from_being_told() -> None:
    def broken(_: Outcome) -> None:
        raise RuntimeError("nobody there")

    first, second = new_intent(), new_intent()
    told: list[Outcome] = []
    async with _writer() as writer, asyncio.timeout(2):
        writer.add(Accept(first, accepted_event(first), broken, followers=[told.append]))
        writer.add(_accept(told, second))
        await _until(lambda: len(told) == 2)
        await writer.check()


async def test_writer__dies__is_unhealthy_and_callers_are_told_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "REST_SECONDS", 0.2)
    told: list[Outcome] = []
    async with _writer() as writer, asyncio.timeout(5):
        with monkeypatch.context() as patch:
            patch.setattr(group_commit.GROUP_SIZE, "observe", lambda _: 1 / 0)
            # More than a group, so that some are in the writer's hand and some wait.
            for _ in range(group_commit.MAX_GROUP + 1):
                writer.add(_accept(told))
            await _until(lambda: len(told) == group_commit.MAX_GROUP + 1)
        assert {type(outcome) for outcome in told} == {Unavailable}
        assert {outcome.reason for outcome in told if isinstance(outcome, Unavailable)} == {
            ErrorReason.ERROR_REASON_STORE_UNAVAILABLE
        }
        with pytest.raises(RuntimeError):
            await writer.check()
        with pytest.raises(Unavailable) as caught:
            writer.add(_accept(told))
        assert caught.value.retry_after
        await _until_healthy(writer)
        writer.add(_accept(told))
        await _until(lambda: len(told) == group_commit.MAX_GROUP + 2)


async def test_writer__cancelled_by_something__is_unhealthy_and_callers_are_told() -> None:
    told: list[Outcome] = []
    async with _writer() as writer, asyncio.timeout(2):
        writer.add(_accept(told))
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "group commit")
        task.cancel()
        await _until(lambda: len(told) == 1)
        assert isinstance(told[0], Unavailable)
        with pytest.raises(RuntimeError):
            await writer.check()
        with pytest.raises(Unavailable):
            writer.add(_accept(told))


async def _until(happened: Callable[[], bool]) -> None:
    while True:
        if happened():
            return
        await asyncio.sleep(0)


async def _until_healthy(writer: GroupCommit) -> None:
    while True:
        with contextlib.suppress(RuntimeError):
            await writer.check()
            return
        await asyncio.sleep(0.01)
