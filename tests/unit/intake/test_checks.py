"""Every rule that is checked in memory: an order that breaks it, told by reason and field, beside orders that pass."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from intentmesh.domain.context import ContextKind, OrderContext
from intentmesh.domain.order import Order, OrderInput, output_hash
from intentmesh.domain.types import UINT256_MAX, Address, Bytes32, ChainId, to_bytes32
from intentmesh.intake.accept import hash_of_body
from intentmesh.intake.candidate import Admissible, Candidate
from intentmesh.intake.checks.business import check_business
from intentmesh.intake.checks.chain import ChainChecks, ChainCheckSettings
from intentmesh.intake.checks.security import check_security, check_signature
from intentmesh.intake.checks.shape import check_shape
from intentmesh.intake.checks.structure import StructureCheck
from intentmesh.intake.checks.timing import check_timing, settlement_seconds
from intentmesh.intake.findings import Finding, refusal
from intentmesh.intake.open_orders import UserOrders
from intentmesh.intake.policy import Policy
from intentmesh.rpc.principals import ANONYMOUS, Principal, PrincipalKind
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest
from intentmesh.v1.intent_pb2 import IntentType

from tests.fixtures.orders import (
    INPUT_AMOUNT,
    OTHER,
    OTHER_KEY,
    RECIPIENT,
    USER,
    erc3009_request,
    make_order,
    permit2_request,
    with_output,
)
from tests.unit.intake.networks import ALPHA, BETA, NETWORK

POLICY = Policy()
STRUCTURE = StructureCheck(RequestValidator(), NETWORK)

Change = Callable[[Order], Order]


def _candidate(request: SubmitIntentRequest) -> Candidate:
    candidate = STRUCTURE.read(request)
    assert isinstance(candidate, Candidate), candidate
    return candidate


def _admissible(request: SubmitIntentRequest) -> Admissible:
    admissible = _candidate(request).admissible()
    assert admissible is not None
    return admissible


def _told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(ErrorReason.Name(finding.reason).removeprefix("ERROR_REASON_"), finding.field) for finding in findings]


def _shape_of(order: Order, policy: Policy = POLICY) -> list[tuple[str, str]]:
    return _told(check_shape(_candidate(permit2_request(NETWORK, order)), NETWORK, policy))


# --- structure ---


def test_structure__empty_message__names_what_is_missing():
    findings = STRUCTURE.read(SubmitIntentRequest())
    assert isinstance(findings, list)
    assert set(_told(findings)) == {
        ("MISSING_FIELD", "order"),
        ("MISSING_FIELD", "signature"),
        ("MISSING_FIELD", "type"),
    }


def test_structure__too_many_and_too_long__are_too_large():
    request = permit2_request(NETWORK, make_order(ALPHA), signature=bytes(4097), request_id="x" * 65)
    request.order.inputs.extend([request.order.inputs[0]] * 16)
    request.order.outputs[0].callback_data = bytes(8193)
    findings = STRUCTURE.read(request)
    assert isinstance(findings, list)
    assert set(_told(findings)) == {
        ("TOO_LARGE", "order.inputs"),
        ("TOO_LARGE", "order.outputs[0].callback_data"),
        ("TOO_LARGE", "signature"),
        ("TOO_LARGE", "request_id"),
    }


def test_structure__amount_beyond_uint256__is_invalid():
    request = permit2_request(NETWORK, make_order(ALPHA))
    request.order.inputs[0].amount = str(UINT256_MAX + 1)
    findings = STRUCTURE.read(request)
    assert isinstance(findings, list)
    assert _told(findings) == [("INVALID_FIELD", "order.inputs[0].amount")]


# --- shape ---


@pytest.mark.parametrize(
    "order",
    [
        make_order(ALPHA),
        make_order(ALPHA, BETA, get="USDC"),
        make_order(ALPHA, get="USDC"),
        with_output(make_order(ALPHA, input_oracle=ALPHA.oracle), oracle=to_bytes32(ALPHA.oracle)),
        with_output(make_order(ALPHA), context=OrderContext(ContextKind.DUTCH, start=1, stop=9, slope=5).encode()),
        with_output(
            make_order(ALPHA),
            context=OrderContext(ContextKind.EXCLUSIVE_LIMIT, exclusive_solver=to_bytes32(OTHER), until=9).encode(),
        ),
    ],
    ids=["swap", "bridge", "transfer", "attested on one chain", "dutch", "exclusive"],
)
def test_shape__served_order__passes(order: Order) -> None:
    assert _shape_of(order) == []
    assert _told(check_timing(_candidate(permit2_request(NETWORK, order)), POLICY, _now(order))) == []


_DIRTY = Bytes32(b"\x01" + bytes(31))
_UNKNOWN = Address(b"\x99" * 20)
_DUTCH = OrderContext(ContextKind.DUTCH, start=1, stop=9, slope=5).encode()


def _exclusive_to(solver: bytes) -> bytes:
    return OrderContext(ContextKind.EXCLUSIVE_LIMIT, exclusive_solver=Bytes32(solver), until=2_000_000_000).encode()


_OVERFLOWING = OrderContext(ContextKind.DUTCH, start=1, stop=9, slope=UINT256_MAX).encode()


def _twice(order: Order, **changes: object) -> Order:
    second = replace(order.outputs[0], **changes)  # type: ignore[arg-type]
    return replace(order, outputs=(*order.outputs, second))


@pytest.mark.parametrize(
    ("reason", "field", "change"),
    [
        ("UNSUPPORTED_CHAIN", "order.origin_chain_id", lambda o: replace(o, origin_chain_id=ChainId(5))),
        ("UNSUPPORTED_CHAIN", "order.outputs[0].chain_id", lambda o: with_output(o, chain_id=ChainId(5))),
        ("UNSUPPORTED_ROUTE", "order.outputs", lambda o: _twice(o, chain_id=BETA.chain_id)),
        ("INVALID_FIELD", "order.outputs[0].token", lambda o: with_output(o, token=_DIRTY)),
        ("INVALID_FIELD", "order.outputs[0].recipient", lambda o: with_output(o, recipient=_DIRTY)),
        ("UNSUPPORTED_TOKEN", "order.inputs[0].token", lambda o: replace(o, inputs=(OrderInput(_UNKNOWN, 1),))),
        ("UNSUPPORTED_TOKEN", "order.outputs[0].token", lambda o: with_output(o, token=to_bytes32(_UNKNOWN))),
        (
            "UNSUPPORTED_TOKEN",
            "order.outputs[0].token",
            lambda o: with_output(o, token=to_bytes32(BETA.tokens["WETH"].address)),
        ),
        ("UNSUPPORTED_SETTLER", "order.outputs[0].settler", lambda o: with_output(o, settler=to_bytes32(_UNKNOWN))),
        ("UNSUPPORTED_ORACLE", "order.input_oracle", lambda o: replace(o, input_oracle=_UNKNOWN)),
        ("UNSUPPORTED_ORACLE", "order.outputs[0].oracle", lambda o: with_output(o, oracle=to_bytes32(ALPHA.oracle))),
        ("ZERO_AMOUNT", "order.outputs[0].amount", lambda o: with_output(o, amount=0)),
        ("ZERO_AMOUNT", "order.inputs[0].amount", lambda o: replace(o, inputs=(replace(o.inputs[0], amount=0),))),
        ("INVALID_CONTEXT", "order.outputs[0].context", lambda o: with_output(o, context=b"\x05")),
        ("INVALID_CONTEXT", "order.outputs[0].context", lambda o: with_output(o, context=b"\x01\x00")),
        ("INVALID_CONTEXT", "order.outputs[0].context", lambda o: with_output(o, context=_OVERFLOWING)),
        ("INVALID_CONTEXT", "order.outputs[1].context", lambda o: _twice(o, context=_DUTCH)),
        ("INVALID_CONTEXT", "order.outputs[0].context", lambda o: with_output(o, context=_exclusive_to(_DIRTY))),
        ("INVALID_CONTEXT", "order.outputs[0].context", lambda o: with_output(o, context=_exclusive_to(bytes(32)))),
        ("DUPLICATE_OUTPUT", "order.outputs[1]", lambda o: _twice(o)),
        ("CALLBACK_NOT_ALLOWED", "order.outputs[0].callback_data", lambda o: with_output(o, callback_data=b"\x01")),
        (
            "SAME_BUY_AND_SELL_TOKEN",
            "order.outputs[1].token",
            lambda o: _twice(o, token=to_bytes32(o.inputs[0].token)),
        ),
    ],
)
def test_shape__one_broken_rule__is_told(reason: str, field: str, change: Change) -> None:
    assert (reason, field) in _shape_of(change(make_order(ALPHA)))


_OTHER_WORD = to_bytes32(_UNKNOWN)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"oracle": _OTHER_WORD},
        {"settler": _OTHER_WORD},
        {"chain_id": BETA.chain_id},
        {"token": _OTHER_WORD},
        {"amount": 1},
        {"recipient": _OTHER_WORD},
        {"callback_data": b"\x01"},
        {"context": b"\x00"},
    ],
    ids=lambda changes: next(iter(changes), "nothing"),
)
def test_shape__two_outputs__are_duplicates_exactly_when_the_chain_names_both_alike(changes: dict[str, object]) -> None:
    order = _twice(make_order(ALPHA), **changes)
    first, second = (output_hash(output) for output in order.outputs)
    assert (("DUPLICATE_OUTPUT", "order.outputs[1]") in _shape_of(order)) == (first == second)


def test_shape__several_broken_rules__are_told_together():
    order = with_output(make_order(ALPHA), amount=0, token=to_bytes32(_UNKNOWN), settler=to_bytes32(_UNKNOWN))
    assert {reason for reason, _ in _shape_of(order)} == {"ZERO_AMOUNT", "UNSUPPORTED_TOKEN", "UNSUPPORTED_SETTLER"}


def test_shape__cross_chain_with_the_settler_as_oracle__is_refused():
    order = make_order(ALPHA, BETA, get="USDC", input_oracle=ALPHA.output_settler)
    assert _shape_of(order) == [("UNSUPPORTED_ORACLE", "order.input_oracle")]


def test_shape__declared_type_differs__is_refused():
    request = permit2_request(NETWORK, make_order(ALPHA, BETA), type=IntentType.INTENT_TYPE_TRANSFER)
    (finding,) = check_shape(_candidate(request), NETWORK, POLICY)
    assert _told([finding]) == [("TYPE_MISMATCH", "type")]
    assert finding.metadata == {"declared": "TRANSFER", "derived": "BRIDGE"}


def test_shape__swap_of_a_token_for_itself__is_refused():
    request = permit2_request(NETWORK, make_order(ALPHA, get="USDC"), type=IntentType.INTENT_TYPE_SWAP)
    assert ("SAME_BUY_AND_SELL_TOKEN", "order.outputs[0].token") in _told(
        check_shape(_candidate(request), NETWORK, POLICY)
    )


def test_shape__authorisation_of_a_token_without_erc3009__is_refused():
    request = permit2_request(NETWORK, make_order(ALPHA, give="WETH", get="USDC"), signature=b"\x01" + bytes(65))
    assert _told(check_shape(_candidate(request), NETWORK, POLICY)) == [("UNSUPPORTED_TOKEN", "order.inputs[0].token")]


def test_shape__callbacks_allowed__pass():
    order = with_output(make_order(ALPHA), callback_data=b"\x01")
    assert _shape_of(order, replace(POLICY, callbacks_allowed=True)) == []


# --- timing ---


def _now(order: Order) -> int:
    return order.fill_deadline - 600


def _timing_of(order: Order, now: int) -> list[tuple[str, str]]:
    return _told(check_timing(_candidate(permit2_request(NETWORK, order)), POLICY, now))


def test_timing__fill_deadline__has_an_earliest_and_a_latest():
    order = make_order(ALPHA)
    deadline = order.fill_deadline
    assert _timing_of(order, deadline - POLICY.minimum_fill_seconds) == []
    too_late = [("INSUFFICIENT_VALID_TO", "order.fill_deadline")]
    assert _timing_of(order, deadline - POLICY.minimum_fill_seconds + 1) == too_late
    assert _timing_of(order, deadline + 100) == too_late
    assert _timing_of(order, deadline - POLICY.maximum_fill_seconds) == []
    assert _timing_of(order, deadline - POLICY.maximum_fill_seconds - 1) == [
        ("EXCESSIVE_VALID_TO", "order.fill_deadline")
    ]


def test_timing__expires__has_an_earliest_and_a_latest():
    order = make_order(ALPHA, BETA)
    earliest = order.fill_deadline + settlement_seconds(ALPHA, BETA, POLICY)
    # Two chains, four blocks of a second each, thirty seconds to attest, sixty to finalise.
    assert earliest - order.fill_deadline == 2 * 4 + 30 + 60
    assert _timing_of(replace(order, expires=earliest), _now(order)) == []
    assert _timing_of(replace(order, expires=earliest - 1), _now(order)) == [
        ("INSUFFICIENT_EXPIRY_MARGIN", "order.expires")
    ]
    latest = _now(order) + POLICY.maximum_lock_seconds
    assert _timing_of(replace(order, expires=latest), _now(order)) == []
    assert _timing_of(replace(order, expires=latest + 1), _now(order)) == [("EXCESSIVE_VALID_TO", "order.expires")]


# --- security ---


@pytest.mark.parametrize("sign", [permit2_request, erc3009_request])
def test_signature__of_the_user__passes(sign) -> None:
    assert check_signature(_admissible(sign(NETWORK, make_order(ALPHA)))) == []


@pytest.mark.parametrize("sign", [permit2_request, erc3009_request])
def test_signature__of_somebody_else__is_refused(sign) -> None:
    (finding,) = check_signature(_admissible(sign(NETWORK, make_order(ALPHA), key=OTHER_KEY)))
    assert _told([finding]) == [("WRONG_OWNER", "signature")]


@pytest.mark.parametrize("sign", [permit2_request, erc3009_request])
def test_signature__order_changed_after_signing__is_refused(sign) -> None:
    request = sign(NETWORK, make_order(ALPHA))
    request.order.outputs[0].amount = "1"
    assert _told(check_signature(_admissible(request))) == [("WRONG_OWNER", "signature")]


@pytest.mark.parametrize("signature", [b"\x00" + bytes(65), b"\x00" + bytes(10), b"\x01" + bytes(64)])
def test_signature__not_canonical__is_refused(signature: bytes) -> None:
    request = permit2_request(NETWORK, make_order(ALPHA), signature=signature)
    assert _told(check_signature(_admissible(request))) == [("INVALID_SIGNATURE", "signature")]


def test_signature__fewer_than_inputs__is_refused():
    order = make_order(ALPHA)
    single = erc3009_request(NETWORK, order).signature
    two, three = (replace(order, inputs=order.inputs * count) for count in (2, 3))
    assert _candidate(permit2_request(NETWORK, two, signature=single)).signature is None
    request = permit2_request(NETWORK, three, signature=erc3009_request(NETWORK, two).signature)
    assert _told(check_signature(_admissible(request))) == [("INVALID_SIGNATURE", "signature")]


def _security_of(order: Order, policy: Policy = POLICY, caller: Principal = ANONYMOUS) -> list[tuple[str, str]]:
    return _told(check_security(_admissible(permit2_request(NETWORK, order)), policy, caller))


def test_security__plain_order__passes():
    assert _security_of(make_order(ALPHA)) == []
    assert _security_of(make_order(ALPHA), caller=Principal(PrincipalKind.USER, "0x" + USER.hex())) == []
    assert _security_of(make_order(ALPHA), caller=Principal(PrincipalKind.SERVICE, "app")) == []


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (Policy(banned_users=frozenset((USER,))), "order.user"),
        (Policy(banned_recipients=frozenset((RECIPIENT,))), "order.outputs[0].recipient"),
        (Policy(banned_users=frozenset((RECIPIENT,))), "order.outputs[0].recipient"),
        (Policy(banned_tokens=frozenset((ALPHA.tokens["USDC"].address,))), "order.inputs[0].token"),
        (Policy(banned_tokens=frozenset((ALPHA.tokens["WETH"].address,))), "order.outputs[0].token"),
    ],
)
def test_security__on_a_list__is_banned(policy: Policy, field: str) -> None:
    assert _security_of(make_order(ALPHA), policy) == [("BANNED", field)]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("order.outputs[0].recipient", lambda o: with_output(o, recipient=Bytes32(bytes(32)))),
        ("order.outputs[0].recipient", lambda o: with_output(o, recipient=to_bytes32(ALPHA.tokens["WETH"].address))),
        ("order.outputs[0].recipient", lambda o: with_output(o, recipient=to_bytes32(ALPHA.output_settler))),
        ("order.outputs[0].recipient", lambda o: with_output(o, recipient=to_bytes32(ALPHA.input_settler))),
        ("order.outputs[0].recipient", lambda o: with_output(o, recipient=to_bytes32(ALPHA.oracle))),
        ("order.outputs[0].recipient", lambda o: with_output(o, recipient=to_bytes32(ALPHA.permit2))),
        ("order.outputs[0].amount", lambda o: with_output(o, amount=UINT256_MAX)),
        ("order.inputs[0].amount", lambda o: replace(o, inputs=(replace(o.inputs[0], amount=UINT256_MAX),))),
    ],
)
def test_security__mistake_or_attack__is_suspicious(field: str, change: Change) -> None:
    assert _security_of(change(make_order(ALPHA))) == [("SUSPICIOUS_PATTERN", field)]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("order.outputs[0].amount", lambda o, amount: with_output(o, amount=amount)),
        ("order.inputs[0].amount", lambda o, amount: replace(o, inputs=(replace(o.inputs[0], amount=amount),))),
    ],
)
def test_security__amount__is_suspicious_above_a_sixteenth_of_all(
    field: str, change: Callable[[Order, int], Order]
) -> None:
    most = UINT256_MAX // 16
    assert _security_of(change(make_order(ALPHA), most)) == []
    assert _security_of(change(make_order(ALPHA), most + 1)) == [("SUSPICIOUS_PATTERN", field)]


def test_security__known_user_with_another_ones_order__is_not_allowed():
    caller = Principal(PrincipalKind.USER, "0x" + OTHER.hex())
    assert _security_of(make_order(ALPHA), caller=caller) == [("NOT_ALLOWED", "order.user")]


def test_security__one_token_authorised_twice__is_refused():
    order = make_order(ALPHA)
    twice = replace(order, inputs=order.inputs * 2)
    findings = check_security(_admissible(erc3009_request(NETWORK, twice)), POLICY, ANONYMOUS)
    assert _told(findings) == [("INVALID_SIGNATURE", "order.inputs")]
    assert _security_of(twice) == []


def test_hash_of_body__another_signature__is_another_body():
    request = permit2_request(NETWORK, make_order(ALPHA), request_id="one")
    again, other = SubmitIntentRequest(), SubmitIntentRequest()
    again.CopyFrom(request)
    again.request_id = "two"
    other.CopyFrom(request)
    other.signature = request.signature[:-1] + bytes([request.signature[-1] ^ 1])
    assert hash_of_body(again) == hash_of_body(request)
    assert hash_of_body(other) != hash_of_body(request)


# --- business ---


def test_business__switched_off__is_all_that_is_told():
    admissible, nothing_open = _admissible(permit2_request(NETWORK, make_order(ALPHA))), UserOrders(0.0, 0, {})
    assert _told(check_business(admissible, POLICY, nothing_open)) == []
    off = replace(POLICY, intake_enabled=False)
    assert _told(check_business(admissible, off, nothing_open)) == [("INTAKE_DISABLED", "")]


# --- the chain, asked and from memory ---


@dataclass
class _Chain:
    """A chain with one user; stands for its client and for the clients of all chains."""

    balance: int = 10**9
    allowance: int = 10**9
    bitmap: int = 0
    code_of_user: bytes = b""
    chain_id: ChainId = ALPHA.chain_id

    def of(self, _: ChainId) -> "_Chain":
        return self

    async def code(self, _: Address) -> bytes:
        return self.code_of_user

    async def call(self, _: Address, data: bytes, *__: Any) -> bytes:
        answers = {
            "70a08231": self.balance,
            "dd62ed3e": self.allowance,
            "4fe02b44": self.bitmap,
            # The wallet does not agree.
            "1626ba7e": 0,
        }
        return answers[data[:4].hex()].to_bytes(32, "big")


async def _funds_of(chain: _Chain, order: Order, open_orders: UserOrders) -> tuple[list[str], bool]:
    """What is found by asking, and whether it suffices by what is remembered of that."""
    checks = ChainChecks(chain, ChainCheckSettings())  # type: ignore[arg-type]  # all of the clients that is used
    admissible = _admissible(permit2_request(NETWORK, order))
    found = await checks.check_funds(admissible, open_orders)
    return [reason for reason, _ in _told(found)], checks.funds_suffice_now(admissible, open_orders)


def _others_take(amount: int, *, by_permit2: bool) -> UserOrders:
    return UserOrders(0.0, 1, {(ALPHA.chain_id, ALPHA.tokens["USDC"].address, by_permit2): amount})


async def test_funds__permit2_nonce_spent__do_not_suffice_from_memory_either() -> None:
    nothing_open = UserOrders(0.0, 0, {})
    chain = _Chain(bitmap=1 << 5)
    assert await _funds_of(chain, make_order(ALPHA, nonce=256 + 5), nothing_open) == (["NONCE_USED"], False)
    assert await _funds_of(chain, make_order(ALPHA, nonce=256 + 6), nothing_open) == ([], True)


async def test_funds__allowance_that_open_orders_take__does_not_suffice_from_memory_either() -> None:
    chain = _Chain(allowance=2 * INPUT_AMOUNT)
    others = _others_take(INPUT_AMOUNT + 1, by_permit2=True)
    assert await _funds_of(chain, make_order(ALPHA), others) == (["INSUFFICIENT_ALLOWANCE"], False)
    assert await _funds_of(chain, make_order(ALPHA), _others_take(INPUT_AMOUNT, by_permit2=True)) == ([], True)
    # What is authorised otherwise is not taken out of the allowance.
    assert await _funds_of(chain, make_order(ALPHA), _others_take(INPUT_AMOUNT + 1, by_permit2=False)) == ([], True)


async def test_funds__key_of_an_account_with_code_has_signed__its_code_is_asked() -> None:
    order, nothing_open = make_order(ALPHA), UserOrders(0.0, 0, {})
    delegated = _Chain(code_of_user=bytes.fromhex("ef0100") + bytes(20))
    assert check_signature(_admissible(permit2_request(NETWORK, order))) == []
    assert await _funds_of(delegated, order, nothing_open) == (["INVALID_EIP1271_SIGNATURE"], False)


# --- the error ---


def test_refusal__several_findings__all_are_violations():
    error = refusal(
        [
            Finding("a", ErrorReason.ERROR_REASON_BANNED, "First.", {"key": "value"}),
            Finding("b", ErrorReason.ERROR_REASON_ZERO_AMOUNT, "Second."),
        ]
    )
    assert type(error).__name__ == "PermissionDenied"
    assert error.reason == ErrorReason.ERROR_REASON_BANNED
    assert error.metadata == {"key": "value"}
    assert [violation.field for violation in error.violations] == ["a", "b"]
    assert error.message.startswith("a: First.")
