"""Leased tokens when Valkey's client fails in a way that it does not announce; the rest is shown on a real Valkey."""

import asyncio
from typing import Any

import pytest
from intentmesh.rpc.leases import Grant, LeasedTokens, Limit

LIMIT = Limit(amount=3, seconds=60)


class BrokenValkey:
    """A client whose connection the event loop has closed already: uvloop's error comes through as it is."""

    def __init__(self, answer: Any = None) -> None:
        self._answer = answer

    def register_script(self, _: str) -> Any:
        async def run(**_: Any) -> Any:
            await asyncio.sleep(0)
            if self._answer is None:
                raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
            return self._answer

        return run


@pytest.mark.parametrize("answer", [None, [1]])
async def test_take__valkey_fails_in_an_unknown_way__everybody_is_counted_alone(answer: Any) -> None:
    tokens = LeasedTokens(BrokenValkey(answer))  # type: ignore[arg-type]
    async with asyncio.timeout(2):
        grants: list[Grant] = await asyncio.gather(*(tokens.take("key", LIMIT) for _ in range(4)))
        other = await tokens.take("other", LIMIT)
    assert [grant.granted for grant in grants] == [1, 1, 1, 0]
    assert other.granted == 1
