"""What the executor sees of fills, read from real chains."""

import time
from dataclasses import replace

from intentmesh.executor.evidence import Depth
from intentmesh.executor.gather import Gatherer, Subject
from intentmesh.executor.verification import verify

from tests.integration.executor.world import World, make_order


async def test_gather__order_with_the_same_output_twice__one_payment_does_not_count_for_both(world: World) -> None:
    once = make_order(world.network)
    twice = replace(once, outputs=once.outputs * 2)
    assert len(await world.hands.fill(twice)) == 1, "the second fill pays nothing"
    await world.hands.mine(3)
    intent_id = world.hands.intent_id(twice)
    settler = world.network.chain(once.origin_chain_id).input_settler
    subject = Subject(intent_id, twice, settler, None, {int(chain.chain_id): 0 for chain in world.network.chains})
    proven = verify(twice, await Gatherer(world.hands.clients, time.monotonic).gather(subject))
    assert [fill is None for fill in proven.fills].count(False) == 1
    assert proven.filled is Depth.ABSENT
