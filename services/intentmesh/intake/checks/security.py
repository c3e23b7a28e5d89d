"""Layer 4, in memory: who signed, who submits, who is banned, what looks like a mistake or an attack.

A signature that does not recover to the user may still be one of a contract wallet; only the chain can tell, so that
part stands in `checks/chain.py`.
"""

from collections.abc import Callable, Iterator, Sequence

from intentmesh.chain.config import ChainConfig
from intentmesh.domain.digests import TokenDomain, erc3009_digest, permit2_digest
from intentmesh.domain.signatures import SIGNATURE_BYTES, InvalidSignature, Permit2Signature, recover
from intentmesh.domain.types import UINT256_MAX, ZERO_ADDRESS, Address, clean_address, format_address
from intentmesh.intake.candidate import Admissible
from intentmesh.intake.checks.value import check_return
from intentmesh.intake.findings import Finding
from intentmesh.intake.policy import Policy
from intentmesh.rpc.access import acts_for
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.v1.error_pb2 import ErrorReason

SecurityCheck = Callable[[Admissible, Policy, Principal], Sequence[Finding]]
# What a wallet asks for that wants everything, and where sums begin to overflow.
_UNLIMITED_AMOUNT = UINT256_MAX // 16


def check_security(admissible: Admissible, policy: Policy, caller: Principal) -> list[Finding]:
    """Everything but the signature, which `check_signature` looks at."""
    findings: list[Finding] = []
    for check in CHECKS:
        findings += check(admissible, policy, caller)
    return findings


def check_signature(admissible: Admissible) -> list[Finding]:
    """INVALID_SIGNATURE or WRONG_OWNER where the signature is not the user's, taken for an account without code."""
    digests = signed_digests(admissible)
    signatures = signatures_of(admissible)
    if len(signatures) != len(digests):
        return [
            Finding(
                "signature",
                ErrorReason.ERROR_REASON_INVALID_SIGNATURE,
                f"The order has {len(digests)} inputs and {len(signatures)} signatures.",
            )
        ]
    return [
        finding
        for digest, signature in zip(digests, signatures, strict=True)
        for finding in _check_one(admissible, digest, signature)
    ]


def signed_digests(admissible: Admissible) -> list[bytes]:
    """What the user has to have signed: one digest for Permit2, one per input for ERC-3009."""
    order, settler = admissible.order, admissible.origin.input_settler
    if isinstance(admissible.signature, Permit2Signature):
        return [permit2_digest(order, settler, admissible.origin.permit2)]
    digests = []
    for item in order.inputs:
        token = admissible.origin.token(item.token)
        if token is None or token.erc3009 is None:
            raise ValueError("the shape of the order was not checked")
        domain = TokenDomain(token.erc3009.name, token.erc3009.version, order.origin_chain_id, item.token)
        digests.append(erc3009_digest(domain, order, settler, item.amount))
    return digests


def signatures_of(admissible: Admissible) -> tuple[bytes, ...]:
    """The signatures in the sequence of `signed_digests`."""
    if isinstance(admissible.signature, Permit2Signature):
        return (admissible.signature.signature,)
    return admissible.signature.signatures


def users_submit_for_themselves(admissible: Admissible, policy: Policy, caller: Principal) -> Sequence[Finding]:
    """NOT_ALLOWED for a known user with the order of another one who has not delegated to them."""
    if caller.kind is not PrincipalKind.USER:
        return ()
    if acts_for(caller, "0x" + admissible.order.user.hex(), policy.delegations):
        return ()
    reason = ErrorReason.ERROR_REASON_NOT_ALLOWED
    return (Finding("order.user", reason, "You are known as another user than the order's."),)


def nobody_is_banned(admissible: Admissible, policy: Policy, _: Principal) -> Sequence[Finding]:
    """BANNED."""
    if not (policy.banned_users or policy.banned_recipients or policy.banned_tokens):
        return ()
    order = admissible.order
    fields = ["order.user"] if order.user in policy.banned_users else []
    fields += [
        f"order.inputs[{index}].token" for index, item in enumerate(order.inputs) if item.token in policy.banned_tokens
    ]
    for index, output in enumerate(order.outputs):
        recipient = clean_address(output.recipient)
        if clean_address(output.token) in policy.banned_tokens:
            fields.append(f"order.outputs[{index}].token")
        if recipient in policy.banned_recipients or recipient in policy.banned_users:
            fields.append(f"order.outputs[{index}].recipient")
    return [Finding(field, ErrorReason.ERROR_REASON_BANNED, "This address is not served.") for field in fields]


def recipients_make_sense(admissible: Admissible, _: Policy, __: Principal) -> Sequence[Finding]:
    """SUSPICIOUS_PATTERN: what is paid to nobody, to a token or to a settler is lost."""
    destination = admissible.destination
    found = []
    for index, output in enumerate(admissible.order.outputs):
        recipient = clean_address(output.recipient)
        if recipient == ZERO_ADDRESS:
            fault = "The recipient is the zero address."
        elif destination.token(recipient) is not None or recipient in _contracts(destination):
            fault = "The recipient is a token or a contract of the settlement; the payment would be lost."
        else:
            continue
        found.append(_suspicious(f"order.outputs[{index}].recipient", fault))
    return found


def amounts_are_limited(admissible: Admissible, _: Policy, __: Principal) -> Sequence[Finding]:
    """SUSPICIOUS_PATTERN: nobody owns that much of anything."""
    order = admissible.order
    fields = [f"order.inputs[{i}].amount" for i, item in enumerate(order.inputs) if item.amount > _UNLIMITED_AMOUNT]
    fields += [f"order.outputs[{i}].amount" for i, item in enumerate(order.outputs) if item.amount > _UNLIMITED_AMOUNT]
    return [_suspicious(field, "The amount is practically unlimited.") for field in fields]


def returns_are_not_far_off(admissible: Admissible, policy: Policy, _: Principal) -> Sequence[Finding]:
    """SUSPICIOUS_PATTERN by the policy's prices."""
    return check_return(admissible, policy)


def authorised_tokens_are_distinct(admissible: Admissible, _: Policy, __: Principal) -> Sequence[Finding]:
    """INVALID_SIGNATURE: a token takes one ERC-3009 authorisation per order id, so the second would revert."""
    if isinstance(admissible.signature, Permit2Signature):
        return ()
    tokens = [item.token for item in admissible.order.inputs]
    if len(set(tokens)) == len(tokens):
        return ()
    return (
        Finding(
            "order.inputs",
            ErrorReason.ERROR_REASON_INVALID_SIGNATURE,
            "With ERC-3009 a token can be given only once in an order; add the amounts up or sign for Permit2.",
        ),
    )


CHECKS: tuple[SecurityCheck, ...] = (
    users_submit_for_themselves,
    nobody_is_banned,
    recipients_make_sense,
    amounts_are_limited,
    returns_are_not_far_off,
    authorised_tokens_are_distinct,
)


def unreadable(field: str) -> Finding:
    """SUSPICIOUS_PATTERN for a text with control or bidi characters, which shows people another text than it is."""
    return _suspicious(field, "The text has characters that cannot be seen.")


def _check_one(admissible: Admissible, digest: bytes, signature: bytes) -> Iterator[Finding]:
    by_permit2 = isinstance(admissible.signature, Permit2Signature)
    if not by_permit2 and len(signature) != SIGNATURE_BYTES:
        yield Finding(
            "signature",
            ErrorReason.ERROR_REASON_INVALID_SIGNATURE,
            f"An ERC-3009 signature has {SIGNATURE_BYTES} bytes; this one has {len(signature)} bytes.",
        )
        return
    try:
        signer = recover(digest, signature)
    except InvalidSignature as error:
        yield Finding("signature", error.reason, error.message)
        return
    if signer != admissible.order.user:
        recovered = format_address(signer)
        yield Finding(
            "signature",
            ErrorReason.ERROR_REASON_WRONG_OWNER,
            f"The signature is by {recovered}, or over another order; the order's user is "
            f"{format_address(admissible.order.user)}.",
            {"recovered": recovered},
        )


def _contracts(chain: ChainConfig) -> tuple[Address, ...]:
    return (chain.output_settler, chain.input_settler, chain.oracle, chain.permit2)


def _suspicious(field: str, message: str) -> Finding:
    return Finding(field, ErrorReason.ERROR_REASON_SUSPICIOUS_PATTERN, message)
