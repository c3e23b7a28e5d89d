"""Hints: heard when all is well, harmless when lost."""

import asyncio
import socket

from intentmesh.embedded.valkey import ValkeyUrl
from intentmesh.rpc.valkey import open_valkey
from intentmesh.store.hints import EVENTS_CHANNEL, HintPublisher, HintSubscriber
from intentmesh.v1.event_pb2 import IntentEvent

DEADLINE_SECONDS = 10.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_publish__to_a_listener__arrives_as_bytes_after_the_first_none(valkey_url: ValkeyUrl) -> None:
    async with open_valkey(valkey_url) as valkey, asyncio.timeout(DEADLINE_SECONDS):
        heard = HintSubscriber(valkey).listen()
        assert await anext(heard) is None
        event = IntentEvent(intent_id="0x01", sequence=3)
        await HintPublisher(valkey).publish([event])
        assert await anext(heard) == event.SerializeToString()
        await heard.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_listen__connection_killed__subscribes_again_and_says_so(valkey_url: ValkeyUrl) -> None:
    async with open_valkey(valkey_url) as valkey, asyncio.timeout(DEADLINE_SECONDS):
        heard = HintSubscriber(valkey).listen()
        assert await anext(heard) is None
        await valkey.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        assert await anext(heard) is None
        await valkey.publish(EVENTS_CHANNEL, b"after")
        assert await anext(heard) == b"after"
        await heard.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_publish__nobody_there__never_raises_nor_lingers() -> None:
    async with open_valkey(f"redis://127.0.0.1:{free_port()}/0") as valkey, asyncio.timeout(2.0):
        publisher = HintPublisher(valkey)
        for _ in range(50):
            await publisher.publish([IntentEvent(intent_id="0x01", sequence=1)])
