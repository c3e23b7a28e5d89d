"""Every reason the intake can answer with: a request that provokes it beside the nearest one that passes.

The table is whole: a reason of the enum that is neither in it nor listed as one of another room fails the first test.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import ChainConfig, NetworkConfig
from intentmesh.chain.permit2 import Permit2
from intentmesh.chain.tokens import Token
from intentmesh.domain.context import ContextKind, OrderContext
from intentmesh.domain.digests import TokenDomain, cancel_intent_digest
from intentmesh.domain.order import Order, OrderInput
from intentmesh.domain.signatures import sign
from intentmesh.domain.types import Address, Bytes32, ChainId, format_address, parse_intent_id, to_bytes32
from intentmesh.embedded.anvil import AnvilChain
from intentmesh.embedded.probes import json_rpc
from intentmesh.embedded.programs import REPOSITORY
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import (
    CancelIntentRequest,
    GetIntentRequest,
    ListIntentsRequest,
    SubmitIntentRequest,
    ValidateIntentRequest,
)
from intentmesh.v1.intent_pb2 import IntentType

from tests.fixtures.orders import (
    FILL_SECONDS,
    INPUT_AMOUNT,
    OTHER,
    OTHER_KEY,
    RECIPIENT,
    USER,
    USER_KEY,
    erc3009_request,
    id_of,
    make_order,
    permit2_request,
    with_output,
)
from tests.fixtures.servers import LocalChains
from tests.integration.intake.conftest import Intake, StartIntake, principal, reason_of, send

Change = Callable[[Order], Order]
UNKNOWN = Address(b"\x99" * 20)


@dataclass(frozen=True)
class World:
    """What a case may use."""

    intake: Intake
    clients: ChainClients
    chain: AnvilChain

    @property
    def alpha(self) -> ChainConfig:
        return self.intake.network.chains[0]

    @property
    def beta(self) -> ChainConfig:
        return self.intake.network.chains[1]

    async def submit(self, order: Order, **fields: Any) -> Any:
        metadata = fields.pop("metadata", ())
        return await self.intake.stub.SubmitIntent(permit2_request(self.network, order, **fields), metadata=metadata)

    @property
    def network(self) -> NetworkConfig:
        return self.intake.network

    def order(self, **changes: Any) -> Order:
        return make_order(self.alpha, **changes)


Act = Callable[[World], Awaitable[Any]]
Told = str | Callable[[World, str], bool]


@dataclass(frozen=True)
class Case:
    """`near` must pass; it differs from what provokes the reason in as little as can be.

    `code` and `metadata` are what error.proto promises for the reason; no other metadata is told.
    """

    reason: str
    provoke: Act
    near: Act
    settings: Mapping[str, Any] = field(default_factory=dict)
    policy: str = ""
    code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT
    # Texts, or what has to be true of them.
    metadata: Mapping[str, Told] = field(default_factory=dict)
    # Which of several rules of one reason.
    rule: str = ""

    @property
    def name(self) -> str:
        return f"{self.reason}, {self.rule}" if self.rule else self.reason


def _order(reason: str, wrong: Change, right: Change = lambda order: order, **given: Any) -> Case:
    """A case in which only the order differs."""

    async def provoke(world: World) -> Any:
        return await world.submit(wrong(world.order()))

    async def near(world: World) -> Any:
        return await world.submit(right(world.order()))

    return Case(reason, provoke, near, **given)


def _request(
    reason: str,
    change: Callable[[SubmitIntentRequest], None],
    near: Callable[[SubmitIntentRequest], None],
    **given: Any,
) -> Case:
    def act(edit: Callable[[SubmitIntentRequest], None]) -> Act:
        async def submit(world: World) -> Any:
            request = permit2_request(world.network, world.order())
            edit(request)
            return await world.intake.stub.SubmitIntent(request)

        return submit

    return Case(reason, act(change), act(near), **given)


def _second(order: Order, **changes: Any) -> Order:
    return replace(order, outputs=(*order.outputs, replace(order.outputs[0], **changes)))


def _input(order: Order, amount: int) -> Order:
    return replace(order, inputs=(OrderInput(order.inputs[0].token, amount),))


def _later(order: Order, fill: int, expires: int) -> Order:
    now = int(time.time())
    return replace(order, fill_deadline=now + fill, expires=now + expires)


def _as_it_is(_: SubmitIntentRequest) -> None:
    """Changes nothing."""


def _give(request: SubmitIntentRequest, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(request, name, value)


def _on(chain_name: str) -> Act:
    async def submit(world: World) -> Any:
        chain = world.alpha if chain_name == "alpha" else world.beta
        return await world.submit(make_order(chain))

    return submit


async def _bridge_and_swap(world: World) -> Any:
    bridge = make_order(world.alpha, world.beta, get="USDC")
    local = world.order().outputs[0]
    return await world.submit(replace(bridge, outputs=(*bridge.outputs, local)))


async def _bridge_twice(world: World) -> Any:
    bridge = make_order(world.alpha, world.beta, get="USDC")
    return await world.submit(_second(bridge, amount=7))


async def _swap_for_itself(world: World) -> Any:
    order = make_order(world.alpha, get="USDC")
    return await world.submit(order, type=IntentType.INTENT_TYPE_SWAP)


async def _transfer(world: World) -> Any:
    return await world.submit(make_order(world.alpha, get="USDC"))


async def _signed_by_another(world: World) -> Any:
    return await world.submit(world.order(), key=OTHER_KEY)


async def _plain(world: World) -> Any:
    return await world.submit(world.order())


def _wallet(answer: str) -> Act:
    async def submit(world: World) -> Any:
        wallet = Address(bytes.fromhex(answer) * 5)
        code = f"0x63{answer}60e01b60005260206000f3"
        await json_rpc(world.chain.port, "anvil_setCode", format_address(wallet), code)
        usdc = Token(world.clients.of(world.alpha.chain_id), world.alpha.tokens["USDC"].address)
        await send(world.chain, usdc.address, usdc.encode_mint(wallet, 10**9))
        request = erc3009_request(world.network, world.order(user=wallet), key=OTHER_KEY)
        return await world.intake.stub.SubmitIntent(request)

    return submit


_nonces = itertools.count(900_000)


def _same_nonce(step: int) -> Act:
    async def submit(world: World) -> Any:
        nonce = next(_nonces)
        await world.submit(world.order(nonce=nonce))
        return await world.submit(with_output(world.order(nonce=nonce + step), amount=3))

    return submit


def _same_request_id(fresh: bool) -> Act:
    async def submit(world: World) -> Any:
        name = f"request-{next(_nonces)}"
        first = permit2_request(world.network, world.order(), request_id=name)
        await world.intake.stub.SubmitIntent(first)
        second = permit2_request(world.network, world.order(), request_id=name) if fresh else first
        return await world.intake.stub.SubmitIntent(second)

    return submit


def _as(caller: str) -> Act:
    async def submit(world: World) -> Any:
        return await world.submit(world.order(), metadata=principal(caller))

    return submit


def _list(metadata: Any, **fields: Any) -> Act:
    async def ask(world: World) -> Any:
        return await world.intake.stub.ListIntents(ListIntentsRequest(**fields), metadata=metadata)

    return ask


def _times(count: int, caller: Any = ()) -> Act:
    """The last of so many submissions."""

    async def submit(world: World) -> Any:
        for _ in range(count - 1):
            await world.submit(world.order(), metadata=caller)
        return await world.submit(world.order(), metadata=caller)

    return submit


def _validations(count: int) -> Act:
    async def ask(world: World) -> Any:
        for _ in range(count):
            answer = await world.intake.stub.ValidateIntent(
                ValidateIntentRequest(intent=permit2_request(world.network, world.order()))
            )
        return answer

    return ask


def _holding(share: int) -> Act:
    """Gives half of all that a user of its own has, so many times."""

    async def submit(world: World) -> Any:
        token = Token(world.clients.of(world.alpha.chain_id), world.alpha.tokens["USDC"].address)
        balance = await token.balance_of(OTHER)
        for _ in range(share - 1):
            await _give_half(world, balance)
        return await _give_half(world, balance)

    return submit


async def _give_half(world: World, balance: int) -> Any:
    order = _input(world.order(user=OTHER), balance // 2)
    return await world.intake.stub.SubmitIntent(erc3009_request(world.network, order, key=OTHER_KEY))


async def _not_allowed_by_permit2(world: World) -> Any:
    return await world.submit(world.order(user=OTHER), key=OTHER_KEY)


async def _allowed_by_authorisation(world: World) -> Any:
    request = erc3009_request(world.network, world.order(user=OTHER), key=OTHER_KEY)
    return await world.intake.stub.SubmitIntent(request)


def _spent(step: int) -> Act:
    async def submit(world: World) -> Any:
        nonce = next(_nonces) * 1000
        permit2 = Permit2(world.clients.of(world.alpha.chain_id))
        await send(world.chain, permit2.address, permit2.encode_invalidate_nonce(nonce))
        return await world.submit(world.order(nonce=nonce + step))

    return submit


async def _get_unknown(world: World) -> Any:
    return await world.intake.stub.GetIntent(GetIntentRequest(intent_id="0x" + "ab" * 32))


async def _get_known(world: World) -> Any:
    stored = await _plain(world)
    return await world.intake.stub.GetIntent(GetIntentRequest(intent_id=stored.intent_id))


def _cancel(status: int) -> Act:
    """Cancels an intent of this status (a number of the enum), put there by hand."""

    async def cancel(world: World) -> Any:
        stored = await _plain(world)
        intent_id, until = parse_intent_id(stored.intent_id), int(time.time()) + 60
        await world.intake.database.execute(
            "UPDATE intents SET status = $2, phase = 6 WHERE intent_id = $1 AND status <> $2", intent_id, status
        )
        signature = sign(cancel_intent_digest(ChainId(world.alpha.chain_id), intent_id, until), USER_KEY)
        return await world.intake.stub.CancelIntent(
            CancelIntentRequest(intent_id=stored.intent_id, signature=signature, valid_until=until)
        )

    return cancel


def _page(cut: int = 0, **changes: Any) -> Act:
    """The second page, with the token cut or the query changed."""

    async def ask(world: World) -> Any:
        operator = principal("operator:o")
        for _ in range(2):
            await _plain(world)
        first = await world.intake.stub.ListIntents(ListIntentsRequest(page_size=1), metadata=operator)
        token = first.next_page_token[: len(first.next_page_token) - cut]
        request = ListIntentsRequest(page_token=token, **({"page_size": 1} | changes))
        return await world.intake.stub.ListIntents(request, metadata=operator)

    return ask


def _with_high_s(request: SubmitIntentRequest) -> None:
    """The other signature that anybody can make of one: mathematically as good, and not canonical."""
    form, r, s, v = request.signature[:1], request.signature[1:33], request.signature[33:65], request.signature[65]
    other = (CURVE_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    request.signature = form + r + other + bytes([27 + 28 - v])


def _compact(request: SubmitIntentRequest) -> None:
    """EIP-2098, which is canonical as well."""
    form, r, s, v = request.signature[:1], request.signature[1:33], request.signature[33:65], request.signature[65]
    request.signature = form + r + bytes([s[0] | (v - 27) << 7]) + s[1:]


def _authorised(order: Change, key: bytes = USER_KEY) -> Act:
    async def submit(world: World) -> Any:
        return await world.intake.stub.SubmitIntent(erc3009_request(world.network, order(world.order()), key=key))

    return submit


def _bridged(wanted: int) -> Act:
    """Gives one USDC on alpha for so much on beta."""

    async def submit(world: World) -> Any:
        return await world.submit(with_output(make_order(world.alpha, world.beta, get="USDC"), amount=wanted))

    return submit


def _dutch(slope: int) -> bytes:
    """Falls for all of time."""
    return OrderContext(ContextKind.DUTCH, start=0, stop=2**32 - 1, slope=slope).encode()


def _cancellation(domain: TokenDomain, nonce: bytes) -> bytes:
    """The user's signature with which a token forgets an authorisation."""
    named = {"name": domain.name, "version": domain.version, "chainId": domain.chain_id}
    message = encode_typed_data(
        {**named, "verifyingContract": format_address(domain.address)},
        {"CancelAuthorization": [{"name": "authorizer", "type": "address"}, {"name": "nonce", "type": "bytes32"}]},
        {"authorizer": format_address(USER), "nonce": nonce},
    )
    return bytes(Account.from_key(USER_KEY).sign_message(message).signature)


def _voided(void: bool) -> Act:
    """An authorisation that was cancelled on chain before it was submitted, or that of another order was."""

    async def submit(world: World) -> Any:
        order, other = world.order(), world.order()
        client = world.clients.of(world.alpha.chain_id)
        token = Token(client, order.inputs[0].token)
        gone = id_of(world.network, order if void else other)
        call = token.encode_cancel_authorization(USER, gone, _cancellation(await token.domain(), gone))
        await send(world.chain, token.address, call)
        return await world.intake.stub.SubmitIntent(erc3009_request(world.network, order))

    return submit


CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
WRONG_WORD = Bytes32(b"\x01" + bytes(31))
USER_TEXT = "0x" + USER.hex()
DUTCH = _dutch(slope=1)
PRICED = 'minimum_value = "0.5"\nmaximum_value = "100"\n[prices]\nUSDC = "1"\n'

ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
FAILED = grpc.StatusCode.FAILED_PRECONDITION
DENIED = grpc.StatusCode.PERMISSION_DENIED


def _is(text: Callable[[World], str]) -> Told:
    return lambda world, told: told == text(world)


def _in_seconds(least: int, most: int) -> Told:
    """A time so far ahead; a test may take some seconds until it looks."""
    return lambda _, told: least - 30 <= int(told) - time.time() <= most


def _is_number(_: World, told: str) -> bool:
    return told.isdecimal()


def _is_id(_: World, told: str) -> bool:
    return len(parse_intent_id(told)) == 32


USDC = _is(lambda world: format_address(world.alpha.tokens["USDC"].address))
ALPHA_ID = _is(lambda world: str(world.alpha.chain_id))
NOT_LISTED = {"chain_id": ALPHA_ID, "token": format_address(UNKNOWN)}

CASES = (
    _request("MISSING_FIELD", lambda r: r.ClearField("signature"), _as_it_is),
    _request("INVALID_FIELD", lambda r: _give(r.order, nonce="01"), _as_it_is),
    _request("TOO_LARGE", lambda r: _give(r, request_id="x" * 65), lambda r: _give(r, request_id="x" * 64)),
    _request(
        "TYPE_MISMATCH",
        lambda r: _give(r, type=IntentType.INTENT_TYPE_BRIDGE),
        _as_it_is,
        metadata={"declared": "BRIDGE", "derived": "SWAP"},
    ),
    _order(
        "UNSUPPORTED_CHAIN",
        lambda o: replace(o, origin_chain_id=ChainId(5)),
        metadata={"chain_id": "5"},
    ),
    _order(
        "UNSUPPORTED_TOKEN",
        lambda o: with_output(o, token=to_bytes32(UNKNOWN)),
        metadata=NOT_LISTED,
    ),
    Case("UNSUPPORTED_ROUTE", _bridge_and_swap, _bridge_twice),
    _order(
        "UNSUPPORTED_SETTLER",
        lambda o: with_output(o, settler=to_bytes32(UNKNOWN)),
        metadata={"chain_id": ALPHA_ID, "expected": _is(lambda world: format_address(world.alpha.output_settler))},
    ),
    _order(
        "UNSUPPORTED_ORACLE",
        lambda o: replace(o, input_oracle=UNKNOWN),
        metadata={"expected": _is(lambda world: format_address(world.alpha.output_settler))},
    ),
    _order("ZERO_AMOUNT", lambda o: with_output(o, amount=0), lambda o: with_output(o, amount=1)),
    Case("SAME_BUY_AND_SELL_TOKEN", _swap_for_itself, _transfer),
    _order("INVALID_CONTEXT", lambda o: with_output(o, context=b"\x05"), lambda o: with_output(o, context=b"\x00")),
    _order("DUPLICATE_OUTPUT", _second, lambda o: _second(o, amount=o.outputs[0].amount + 1)),
    _order(
        "CALLBACK_NOT_ALLOWED",
        lambda o: with_output(o, callback_data=b"\x01"),
        lambda o: with_output(o, callback_data=b""),
    ),
    _order(
        "INSUFFICIENT_VALID_TO",
        lambda o: _later(o, 3, 3600),
        lambda o: _later(o, 8, 3600),
        metadata={"earliest": _in_seconds(3, 8)},
    ),
    _order(
        "EXCESSIVE_VALID_TO",
        lambda o: _later(o, 86_410, 90_000),
        lambda o: _later(o, 86_390, 90_000),
        metadata={"latest": _in_seconds(86_390, 86_410)},
    ),
    _order(
        "INSUFFICIENT_EXPIRY_MARGIN",
        lambda o: replace(o, expires=o.fill_deadline + 90),
        lambda o: replace(o, expires=o.fill_deadline + 200),
        metadata={"earliest": _in_seconds(FILL_SECONDS + 90, FILL_SECONDS + 200)},
    ),
    _request(
        "INVALID_SIGNATURE",
        lambda r: _give(r, signature=r.signature[:-1] + bytes([r.signature[-1] - 27])),
        _as_it_is,
    ),
    Case(
        "WRONG_OWNER",
        _signed_by_another,
        _plain,
        metadata={"recovered": format_address(OTHER)},
    ),
    Case("INVALID_EIP1271_SIGNATURE", _wallet("ffffffff"), _wallet("1626ba7e")),
    _order(
        "BANNED",
        lambda o: with_output(o, recipient=to_bytes32(UNKNOWN)),
        policy=f'banned_recipients = ["{format_address(UNKNOWN)}"]',
        code=DENIED,
    ),
    _order("SUSPICIOUS_PATTERN", lambda o: with_output(o, recipient=Bytes32(bytes(32)))),
    Case(
        "DUPLICATE_NONCE",
        _same_nonce(0),
        _same_nonce(1),
        code=ALREADY_EXISTS,
        metadata={"intent_id": _is_id},
    ),
    Case(
        "REQUEST_ID_REUSED",
        _same_request_id(fresh=True),
        _same_request_id(fresh=False),
        code=ALREADY_EXISTS,
    ),
    Case(
        "NOT_ALLOWED",
        _as("user:0x" + OTHER.hex()),
        _as("user:0x" + RECIPIENT.hex()),
        policy=f'[delegations]\n"user:0x{RECIPIENT.hex()}" = ["{USER_TEXT}"]',
        code=DENIED,
    ),
    Case(
        "UNAUTHENTICATED",
        _list((), user=USER_TEXT),
        _list(principal(f"user:{USER_TEXT}"), user=USER_TEXT),
        code=grpc.StatusCode.UNAUTHENTICATED,
    ),
    Case(
        "TOO_MANY_OPEN_INTENTS",
        _times(3),
        _times(1),
        {"maximum_open_intents_per_user": 2},
        code=EXHAUSTED,
        metadata={"limit": "2"},
    ),
    Case(
        "INTAKE_DISABLED",
        _plain,
        _get_known,
        policy="intake_enabled = false",
        code=grpc.StatusCode.UNAVAILABLE,
    ),
    Case(
        "INSUFFICIENT_BALANCE",
        _holding(3),
        _holding(2),
        code=FAILED,
        metadata={"token": USDC, "balance": _is_number, "needed": _is_number},
    ),
    Case(
        "INSUFFICIENT_ALLOWANCE",
        _not_allowed_by_permit2,
        _allowed_by_authorisation,
        code=FAILED,
        metadata={"token": USDC, "allowance": "0", "needed": str(INPUT_AMOUNT)},
    ),
    Case(
        "NONCE_USED",
        _spent(0),
        _spent(1),
        code=FAILED,
    ),
    _order(
        "VALUE_TOO_LOW",
        lambda o: _input(o, 499_999),
        lambda o: _input(o, 500_000),
        policy=PRICED,
        code=FAILED,
    ),
    _order(
        "VALUE_TOO_HIGH",
        lambda o: _input(o, 100_000_001),
        lambda o: _input(o, 100_000_000),
        policy=PRICED,
        code=FAILED,
    ),
    Case(
        "RATE_LIMITED",
        _validations(3),
        _validations(2),
        {"requests_per_minute": 2},
        code=EXHAUSTED,
        metadata={"limit": "2", "window_seconds": "60"},
    ),
    Case(
        "TOO_MANY_INTENTS_CREATED",
        _times(3),
        _times(2),
        {"new_intents_per_15_minutes": 2},
        code=EXHAUSTED,
        metadata={"limit": "2", "window_seconds": "900"},
    ),
    Case(
        "NOT_FOUND",
        _get_unknown,
        _get_known,
        code=grpc.StatusCode.NOT_FOUND,
        metadata={"resource": "0x" + "ab" * 32},
    ),
    Case(
        "ALREADY_TERMINAL",
        _cancel(3),
        _cancel(1),
        code=FAILED,
        metadata={"status": "COMPLETED"},
    ),
    Case("INVALID_PAGE_TOKEN", _page(statuses=[5]), _page(page_size=2)),
    Case("INVALID_PAGE_TOKEN", _page(cut=9), _page(), rule="malformed"),
    # Other rules of reasons that stand above already.
    _order("INVALID_FIELD", lambda o: with_output(o, recipient=WRONG_WORD), rule="unclean word"),
    _order(
        "UNSUPPORTED_TOKEN",
        lambda o: replace(o, inputs=(OrderInput(UNKNOWN, 1),)),
        rule="given",
        metadata=NOT_LISTED,
    ),
    _order(
        "EXCESSIVE_VALID_TO",
        lambda o: replace(o, expires=int(time.time()) + 7 * 86_400 + 30),
        lambda o: replace(o, expires=int(time.time()) + 7 * 86_400 - 30),
        rule="expires",
        metadata={"latest": _in_seconds(7 * 86_400 - 30, 7 * 86_400 + 30)},
    ),
    _order(
        "INVALID_CONTEXT",
        lambda o: _second(o, amount=1, context=DUTCH),
        lambda o: with_output(_second(o, amount=1), context=DUTCH),
        rule="moving price of the second output",
    ),
    _order(
        "INVALID_CONTEXT",
        lambda o: with_output(o, context=_dutch(slope=2**256 // 2**31)),
        lambda o: with_output(o, context=_dutch(slope=2**200)),
        rule="overflow",
    ),
    _request("INVALID_SIGNATURE", _with_high_s, _compact, rule="high s"),
    _request("INVALID_SIGNATURE", lambda r: _give(r, signature=b"\x02" + r.signature[1:]), _as_it_is, rule="form"),
    Case(
        "INVALID_SIGNATURE",
        _authorised(lambda o: replace(o, inputs=o.inputs * 2)),
        _authorised(lambda o: o),
        rule="one token authorised twice",
    ),
    Case(
        "BANNED",
        _plain,
        _allowed_by_authorisation,
        policy=f'banned_users = ["{USER_TEXT}"]',
        rule="user",
        code=DENIED,
    ),
    _order(
        "SUSPICIOUS_PATTERN",
        lambda o: with_output(o, amount=2**256 - 1),
        lambda o: with_output(o, amount=2**200),
        rule="unlimited",
    ),
    _request(
        "SUSPICIOUS_PATTERN",
        lambda r: _give(r, request_id="pay\u202eme"),
        lambda r: _give(r, request_id="pay me"),
        rule="bidi",
    ),
    Case(
        "SUSPICIOUS_PATTERN",
        _bridged(499_999),
        _bridged(500_000),
        policy='smallest_return = "0.5"\n[prices]\nUSDC = "1"\n',
        rule="asks for too little",
    ),
    Case(
        "SUSPICIOUS_PATTERN",
        _bridged(2_000_001),
        _bridged(2_000_000),
        policy='largest_return = "2"\n[prices]\nUSDC = "1"\n',
        rule="asks for too much",
    ),
    Case(
        "SUSPICIOUS_PATTERN",
        _times(3),
        _times(2),
        {"user_intents_per_10_seconds": 2},
        rule="burst",
        code=EXHAUSTED,
        metadata={"limit": "2", "window_seconds": "10"},
    ),
    Case(
        "VALUE_TOO_LOW",
        _bridged(900_001),
        _bridged(900_000),
        policy='minimum_margin = "0.1"\n[prices]\nUSDC = "1"\n',
        rule="margin",
        code=FAILED,
    ),
    Case(
        "VALUE_TOO_LOW",
        _bridged(900_000),
        _bridged(500_000),
        policy='minimum_margin = "0.1"\n[prices]\nUSDC = "1"\n[gas_prices]\nalpha = "1"\n',
        rule="margin after gas",
        code=FAILED,
    ),
    Case(
        "NONCE_USED",
        _voided(void=True),
        _voided(void=False),
        rule="authorisation",
        code=FAILED,
    ),
    Case(
        "TOO_MANY_INTENTS_CREATED",
        _times(3),
        _times(2),
        {"user_intents_per_15_minutes": 2},
        rule="of one user",
        code=EXHAUSTED,
        metadata={"limit": "2", "window_seconds": "900"},
    ),
)

# Provoked by a fault of something else; each has a test of its own.
BY_FAULTS = {
    "OVERLOADED": "tests/unit/intake/test_group_commit.py",
    "CHAIN_UNAVAILABLE": "tests/integration/intake/test_submit.py",
    "STORE_UNAVAILABLE": "tests/integration/intake/test_once.py",
    "SERVICE_UNAVAILABLE": "the intake needs no other service; Valkey away is covered by test_limits.py",
    "DRAINING": "tests/integration/rpc/test_lifecycle.py",
    "DEADLINE_EXCEEDED": "tests/integration/rpc/test_errors.py",
    "INTERNAL": "a bug; the fuzzer looks for it",
}
OF_OTHER_ROOMS = {
    "UNSPECIFIED",
    *("STALE_AWARD", "NOT_PROVEN", "FILL_MISMATCH", "CONFLICTING_ATTESTATION", "SOLVER_NOT_APPROVED"),
    *("INVALID_RESUME_TOKEN", "FILTER_CHANGED", "EPOCH_CHANGED", "POSITION_TOO_OLD", "SLOW_READER", "STREAM_CLOSED"),
    *("NO_QUOTES", "SOLVER_FAILED", "ATTEMPTS_EXHAUSTED", "DEADLINE_PASSED", "CANCELLED_BY_USER"),
    *("TRANSACTION_REVERTED", "LATE_FILL", "FINALITY_VIOLATED"),
}


def test_table__every_reason__is_in_it() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 (an enum's wrapper)
    assert {case.reason for case in CASES} | set(BY_FAULTS) | OF_OTHER_ROOMS == reasons
    assert len({case.name for case in CASES}) == len(CASES)
    assert all((REPOSITORY / place).is_file() for place in BY_FAULTS.values() if place.startswith("tests/"))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_reason__request_that_provokes_it_is_refused_and_the_nearest_one_passes(
    case: Case, start_intake: StartIntake, chain_clients: ChainClients, chains: LocalChains, tmp_path: Path
) -> None:
    settings = dict(case.settings)
    if case.policy:
        (tmp_path / "policy.toml").write_text(case.policy)
        settings["policy_file"] = tmp_path / "policy.toml"
    async with start_intake(**settings) as intake:
        world = World(intake, chain_clients, chains.alpha)
        if case.settings or case.reason == "INTAKE_DISABLED":
            # The state is the cause: what passes comes first, or in another mesh.
            await _refused(case, world)
            return
        await case.near(world)
        await _refused(case, world)


@pytest.mark.parametrize("case", [case for case in CASES if case.settings], ids=lambda case: case.name)
async def test_limit__what_just_fits__passes(case: Case, start_intake: StartIntake, chain_clients, chains) -> None:
    async with start_intake(**case.settings) as intake:
        await case.near(World(intake, chain_clients, chains.alpha))


async def test_kill_switch__switched_on_again__passes(start_intake: StartIntake, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("intake_enabled = false")
    async with start_intake(policy_file=file) as intake:
        with pytest.raises(grpc.aio.AioRpcError):
            await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(intake.network.chains[0])))
        file.write_text("intake_enabled = true")
        async with asyncio.timeout(15):
            while True:
                try:
                    request = permit2_request(intake.network, make_order(intake.network.chains[0]))
                    assert (await intake.stub.SubmitIntent(request)).created
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.1)


async def _refused(case: Case, world: World) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await case.provoke(world)
    error = mesh_error_from_rpc(caught.value)
    assert reason_of(error) == case.reason, error.message
    # What a check finds is told as a violation too, for those who read all of them.
    told = {ErrorReason.Name(violation.reason).removeprefix("ERROR_REASON_") for violation in error.violations}
    assert not told or case.reason in told
    assert caught.value.code() is case.code
    assert set(error.metadata) == set(case.metadata)
    for key, expected in case.metadata.items():
        text = error.metadata[key]
        assert text == expected if isinstance(expected, str) else expected(world, text), (key, text)
    # Where waiting helps.
    assert (error.retry_after is not None) == (case.code in (EXHAUSTED, grpc.StatusCode.UNAVAILABLE))
