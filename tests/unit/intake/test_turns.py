"""Whose turn it is on the event loop."""

import asyncio

from intentmesh.intake.turns import Turns


async def test_turns__many_streams_at_once__do_so_many_orders_a_turn_of_the_loop() -> None:
    turns, turn, done = Turns(4), 0, []

    async def stream(name: int) -> None:
        for _ in range(3):
            await turns.take(2)
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
    turns, others_ran = Turns(32), False

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
    turns = Turns(1)
    first, gone, next_one = (asyncio.create_task(turns.take(1)) for _ in range(3))
    await asyncio.sleep(0)
    assert first.done()
    gone.cancel()
    async with asyncio.timeout(5):
        await next_one
    assert gone.cancelled()
