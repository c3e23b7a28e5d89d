"""A shared cache that hangs costs those who read next to nothing."""

import asyncio
from typing import Any

import pytest
from intentmesh.domain.types import IntentId
from intentmesh.status import shared_cache
from intentmesh.status.shared_cache import SharedCache

INTENT = IntentId(bytes(32))


class _Valkey:
    """Takes every command and answers none, until it goes on."""

    def __init__(self) -> None:
        self.asked = 0
        self.hangs = True

    def register_script(self, _: str) -> None:
        return None

    async def set(self, *_: object, **__: object) -> bytes:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        return b"%020d0" % 7 + b"payload"


async def test_get__valkey_hangs__one_at_a_time_finds_out_whether_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_cache, "TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(shared_cache, "PAUSE_SECONDS", 0.05)
    valkey: Any = _Valkey()
    cache = SharedCache(valkey)

    async def read_by_many() -> list[Any]:
        return await asyncio.gather(*(cache.get(INTENT) for _ in range(20)))

    async with asyncio.timeout(5):
        assert await read_by_many() == [None] * 20
        assert valkey.asked == 20
        for probes in (1, 2):
            await asyncio.sleep(0.06)
            assert await read_by_many() == [None] * 20
            assert valkey.asked == 20 + probes
        valkey.hangs = False
        await asyncio.sleep(0.06)
        await read_by_many()
        # It answers again, and is asked by everybody.
        assert all(found is not None and found.sequence == 7 for found in await read_by_many())
