"""Who may have how many streams open: each caller a bounded number, and strangers never all of them."""

from typing import Any

import pytest
from intentmesh.domain.errors import MeshError, ResourceExhausted
from intentmesh.rpc.principals import PRINCIPAL_HEADER, TOKEN_HEADER
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.status_service_pb2 import WatchIntentRequest, WatchIntentsRequest

from tests.integration.status.replicas import Mesh, Reader, eventually, id_of

TOKEN = "shown by the services of these tests"
SHOP = ((TOKEN_HEADER, TOKEN), (PRINCIPAL_HEADER, "service:shop"))
OPERATOR = ((TOKEN_HEADER, TOKEN), (PRINCIPAL_HEADER, "operator:ops"))


async def _opened(stub: Any, wanted: WatchIntentRequest, metadata: Any = ()) -> Reader:
    reader = Reader(stub.WatchIntent(wanted, metadata=metadata))
    await reader.read()
    return reader


async def _refused(stub: Any, wanted: WatchIntentRequest, metadata: Any = ()) -> MeshError:
    with pytest.raises(ResourceExhausted) as caught:
        await _opened(stub, wanted, metadata)
    error = caught.value
    assert error.reason == ErrorReason.ERROR_REASON_OVERLOADED
    assert error.retry_after is not None
    return error


async def test_streams__strangers_open_all_they_can__services_and_operators_still_find_room(mesh: Mesh) -> None:
    wanted = WatchIntentRequest(intent_id=id_of(await mesh.store()))
    async with mesh.replica(max_streams=20, internal_token=TOKEN) as stub:
        held = [await _opened(stub, wanted) for _ in range(18)]
        assert (await _refused(stub, wanted)).metadata == {}
        held += [await _opened(stub, wanted, metadata) for metadata in (SHOP, OPERATOR)]
        await _refused(stub, wanted, OPERATOR)
        for reader in held:
            reader.call.cancel()


async def test_streams__address_has_as_many_as_it_may__is_refused_until_one_ends_and_others_are_not(mesh: Mesh) -> None:
    wanted = WatchIntentRequest(intent_id=id_of(await mesh.store()))
    one, other = ((("x-forwarded-for", f"203.0.113.{host}"),) for host in (7, 8))
    settings = {"trusted_proxies": ("127.0.0.0/8",), "internal_token": TOKEN}
    async with mesh.replica(**settings, streams_per_caller=2, streams_per_service=3) as stub:
        held = [await _opened(stub, wanted, hop) for hop in (one, one, other, other)]
        held += [await _opened(stub, wanted, SHOP) for _ in range(3)]
        held += [await _opened(stub, wanted, OPERATOR) for _ in range(4)]
        for hop in (one, other):
            assert (await _refused(stub, wanted, hop)).metadata == {"limit": "2"}
        assert (await _refused(stub, wanted, SHOP)).metadata == {"limit": "3"}
        held.pop(0).call.cancel()

        async def has_room() -> bool:
            try:
                held.append(await _opened(stub, wanted, one))
            except ResourceExhausted:
                return False
            return True

        await eventually(has_room)
        await _refused(stub, wanted, other)
        for reader in held:
            reader.call.cancel()


async def _naming(stub: Any, intents: int, metadata: Any = ()) -> Reader:
    """A watch that names so many, whether there are such intents or not."""
    wanted = WatchIntentsRequest(intent_ids=[f"0x{number:064x}" for number in range(intents)])
    reader = Reader(stub.WatchIntents(wanted, metadata=metadata))
    await reader.read()
    return reader


async def test_streams__strangers_name_all_the_intents_they_can__others_can_still_name_theirs(mesh: Mesh) -> None:
    wanted = WatchIntentRequest(intent_id=id_of(await mesh.store()))
    hops = [(("x-forwarded-for", f"203.0.113.{host}"),) for host in range(4)]
    settings = {"trusted_proxies": ("127.0.0.0/8",), "internal_token": TOKEN}
    async with mesh.replica(**settings, max_watched_ids=4_000) as stub:
        held = [await _naming(stub, 1_000, hops[0])]
        # It has places left, but no names.
        assert (await _refused(stub, wanted, hops[0])).metadata == {"limit": "1000"}
        held += [await _naming(stub, names, hop) for names, hop in zip((1_000, 1_000, 600), hops[1:], strict=True)]
        assert (await _refused(stub, wanted, hops[3])).metadata == {}
        held += [await _naming(stub, names, metadata) for names, metadata in ((360, SHOP), (40, OPERATOR))]
        await _refused(stub, wanted, OPERATOR)
        held.pop(0).call.cancel()

        async def has_room() -> bool:
            try:
                held.append(await _opened(stub, wanted, hops[0]))
            except ResourceExhausted:
                return False
            return True

        await eventually(has_room)
        for reader in held:
            reader.call.cancel()
