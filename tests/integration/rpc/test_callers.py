"""Who calls, and in which trace: what a caller says about itself gains nothing."""

from typing import Any

import grpc
import pytest
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.principals import (
    FORWARDED_HEADER,
    PRINCIPAL_HEADER,
    TOKEN_HEADER,
    Principal,
    PrincipalKind,
    client_address,
    current_principal,
)
from intentmesh.rpc.tracing import current_trace_id, start_trace
from intentmesh.v1 import status_service_pb2
from intentmesh.v1.status_service_pb2_grpc import StatusServiceServicer, StatusServiceStub

from tests.integration.rpc.serving import INTENT_ID, status_server

ASK = status_service_pb2.GetIntentStatusRequest(intent_id=INTENT_ID)
TOKEN = "internal token of the test"
OPERATOR = (PRINCIPAL_HEADER, "operator:mallory")


class Mirror(StatusServiceServicer):
    """Answers with what it knows of its caller; asks another server first when there is one."""

    def __init__(self, next_stub: Any = None) -> None:
        self.next_stub = next_stub

    async def GetIntentStatus(self, request, context):  # noqa: N802, ARG002
        own = f"{current_principal()} {client_address()} {current_trace_id()}"
        if self.next_stub is not None:
            own += " " + (await self.next_stub.GetIntentStatus(request)).message
        return status_service_pb2.GetIntentStatusResponse(message=own)


async def seen(metadata: tuple[tuple[str, str], ...], **settings: Any) -> list[str]:
    async with (
        status_server(Mirror(), **settings) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        answer = await StatusServiceStub(channel).GetIntentStatus(ASK, metadata=metadata)
    return answer.message.split(" ")


@pytest.mark.parametrize("forwarded", ["203.0.113.9", "127.0.0.1", "10.0.0.1, 203.0.113.9", "nonsense", ""])
async def test_forwarded_header__from_a_stranger__changes_nothing(forwarded: str) -> None:
    principal, address, _ = await seen(((FORWARDED_HEADER, forwarded), OPERATOR))
    assert (principal, address) == ("anonymous", "127.0.0.1")


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.7, 203.0.113.9", "203.0.113.9"),
        ("198.51.100.7, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("203.0.113.9, nonsense", "127.0.0.1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("203.0.113.9:4711, 10.1.2.3:80", "203.0.113.9"),
        ("203.0.113.9:nonsense", "127.0.0.1"),
        ("[2001:db8::1]nonsense", "127.0.0.1"),
    ],
)
async def test_forwarded_header__from_a_trusted_proxy__gives_the_first_untrusted_hop(
    forwarded: str, expected: str
) -> None:
    trusted = ("127.0.0.0/8", "10.0.0.0/8")
    _, address, _ = await seen(((FORWARDED_HEADER, forwarded),), trusted_proxies=trusted)
    assert address == expected


async def test_principal__without_token__is_anonymous_also_through_a_proxy() -> None:
    for settings in ({}, {"trusted_proxies": ("127.0.0.1",)}, {"internal_token": TOKEN}):
        assert (await seen((OPERATOR,), **settings))[0] == "anonymous"
    wrong = (OPERATOR, (TOKEN_HEADER, TOKEN[:-1]))
    assert (await seen(wrong, internal_token=TOKEN))[0] == "anonymous"
    assert (await seen((OPERATOR, (TOKEN_HEADER, "")), internal_token=""))[0] == "anonymous"


async def test_principal__with_the_token_or_from_an_authenticating_gateway__is_believed() -> None:
    shown = ((PRINCIPAL_HEADER, "executor:one"), (TOKEN_HEADER, TOKEN))
    assert (await seen(shown, internal_token=TOKEN))[0] == "executor:one"
    gateway = {"trusted_proxies": ("127.0.0.1",), "trust_proxy_principals": True}
    assert (await seen(((PRINCIPAL_HEADER, "user:0xab"),), **gateway))[0] == "user:0xab"


@pytest.mark.parametrize("text", ["root:me", "operator:", "anonymous:x", "operator"])
async def test_principal__malformed__is_anonymous(text: str) -> None:
    shown = ((PRINCIPAL_HEADER, text), (TOKEN_HEADER, TOKEN))
    assert (await seen(shown, internal_token=TOKEN))[0] == "anonymous"


async def test_principal__user_in_any_case__is_one() -> None:
    shown = ((PRINCIPAL_HEADER, "user:0xABcd"), (TOKEN_HEADER, TOKEN))
    assert (await seen(shown, internal_token=TOKEN))[0] == "user:0xabcd"


async def test_principal__sent_twice__is_anonymous() -> None:
    shown = ((PRINCIPAL_HEADER, "user:a"), OPERATOR, (TOKEN_HEADER, TOKEN))
    assert (await seen(shown, internal_token=TOKEN))[0] == "anonymous"


async def test_channel__with_principal_and_token__says_who_calls_and_in_which_trace() -> None:
    trace = start_trace()
    principal = Principal(PrincipalKind.SERVICE, "status")
    async with (
        status_server(Mirror(), internal_token=TOKEN) as running,
        open_channel(running.target, principal=principal, internal_token=TOKEN) as channel,
    ):
        answer = await StatusServiceStub(channel).GetIntentStatus(ASK)
    assert answer.message.split(" ") == ["service:status", "127.0.0.1", trace]


async def test_trace__over_two_servers__is_one() -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with (
        status_server(Mirror()) as last,
        open_channel(last.target) as inner,
        status_server(Mirror(StatusServiceStub(inner))) as first,
        grpc.aio.insecure_channel(first.target) as channel,
    ):
        stub = StatusServiceStub(channel)
        answer = await stub.GetIntentStatus(ASK, metadata=(("traceparent", traceparent),))
    words = answer.message.split(" ")
    assert words[2] == words[5] == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("sent", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
async def test_trace__absent_or_invalid__is_made_here(sent: str) -> None:
    trace = (await seen((("traceparent", sent),)))[2]
    assert len(trace) == 32
    assert int(trace, 16)
