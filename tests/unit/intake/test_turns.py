"""Whose turn it is on the event loop."""

import asyncio

from intentmesh.intake.turns import QUIET_SECONDS, Turns


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_turns__many_streams_at_once__do_so_many_orders_a_turn_of_the_loop() -> None:
    turns, turn, done = Turns(long=4), 0, []

    async def stream(name: int) -> None:
        for _ in range(3):
            assert await turns.take(2) == 2
            done.append((turn, name))

    async def clock() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(clock())
    await asyncio.gather(*(stream(name) for name in range(6)))
    ticking.cancel()

    assert sorted(name for _, name in done) == sorted([*range(6)] * 3)
    by_turn = [when for when, _ in done]
    assert max(by_turn.count(when) for when in by_turn) == 2


async def test_turns__few_orders_at_a_time__share_a_turn() -> None:
    turns, others_ran = Turns(long=32), False

    async def other() -> None:
        nonlocal others_ran
        others_ran = True

    waiting = asyncio.create_task(other())
    for _ in range(32):
        await turns.take(1)
        assert not others_ran
    await turns.take(1)
    assert others_ran
    await waiting


async def test_turns__whoever_waits_goes_away__the_next_one_has_the_turn() -> None:
    turns = Turns(long=1)
    first, gone, next_one = (asyncio.create_task(turns.take(1)) for _ in range(3))
    await asyncio.sleep(0)
    assert first.done()
    gone.cancel()
    async with asyncio.timeout(5):
        await next_one
    assert gone.cancelled()


async def test_turns__a_call_is_served__are_short_until_it_has_been_quiet() -> None:
    clock = _Clock()
    turns = Turns(short=2, long=8, clock=clock)
    assert await turns.take(64) == 8
    with turns.call():
        assert await turns.take(64) == 2
        with turns.call():
            pass
        clock.now += 2 * QUIET_SECONDS
        assert await turns.take(64) == 2
    clock.now += 0.9 * QUIET_SECONDS
    assert await turns.take(64) == 2
    clock.now += 0.2 * QUIET_SECONDS
    assert await turns.take(64) == 8


async def test_turns__a_stream_has_begun__are_short_until_no_other_one_begins() -> None:
    clock = _Clock()
    turns = Turns(short=2, long=8, clock=clock)
    turns.begun()
    assert await turns.take(64) == 2
    clock.now += 1.1 * QUIET_SECONDS
    assert await turns.take(64) == 8


async def test_turns__a_call_comes_while_streams_wait__those_have_short_turns_too() -> None:
    turns = Turns(short=2, long=8)
    streams = [asyncio.create_task(turns.take(64)) for _ in range(3)]
    await asyncio.sleep(0)
    assert streams[0].done()
    with turns.call():
        assert await asyncio.gather(*streams) == [8, 2, 2]


async def test_turns__fewer_orders_than_a_turn__all_of_them() -> None:
    turns = Turns(short=2, long=8)
    assert await turns.take(5) == 5
    with turns.call():
        assert await turns.take(1) == 1
