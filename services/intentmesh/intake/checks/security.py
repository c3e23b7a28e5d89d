"""Layer 4, in memory: who signed, who submits, who is banned, what looks like a mistake or an attack.

A signature that does not recover to the user may still be one of a contract wallet; only the chain can tell, so that
part stands in `checks/chain.py`.
"""

from collections.abc import Callable, Iterator

from intentmesh.domain.digests import TokenDomain, erc3009_digest, permit2_digest
from intentmesh.domain.signatures import SIGNATURE_BYTES, InvalidSignature, Permit2Signature, recover
from intentmesh.domain.types import UINT256_MAX, ZERO_ADDRESS, clean_address, format_address
from intentmesh.intake.candidate import Admissible
from intentmesh.intake.findings import Finding
from intentmesh.intake.policy import Policy
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.v1.error_pb2 import ErrorReason

SecurityCheck = Callable[[Admissible, Policy, Principal], Iterator[Finding]]
# What a wallet asks for that wants everything, and where sums begin to overflow.
_UNLIMITED_AMOUNT = UINT256_MAX // 16


def check_security(admissible: Admissible, policy: Policy, caller: Principal) -> list[Finding]:
    """Everything but the signature, which `check_signature` looks at."""
    return [finding for check in CHECKS for finding in check(admissible, policy, caller)]


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


def users_submit_for_themselves(admissible: Admissible, _: Policy, caller: Principal) -> Iterator[Finding]:
    """NOT_ALLOWED for a known user with another user's order."""
    user = "0x" + admissible.order.user.hex()
    if caller.kind is PrincipalKind.USER and caller.name.lower() != user:
        yield Finding(
            "order.user", ErrorReason.ERROR_REASON_NOT_ALLOWED, "You are known as another user than the order's."
        )


def nobody_is_banned(admissible: Admissible, policy: Policy, _: Principal) -> Iterator[Finding]:
    """BANNED."""
    order = admissible.order
    if order.user in policy.banned_users:
        yield _banned("order.user")
    for index, item in enumerate(order.inputs):
        if item.token in policy.banned_tokens:
            yield _banned(f"order.inputs[{index}].token")
    for index, output in enumerate(order.outputs):
        if clean_address(output.token) in policy.banned_tokens:
            yield _banned(f"order.outputs[{index}].token")
        if clean_address(output.recipient) in policy.banned_recipients | policy.banned_users:
            yield _banned(f"order.outputs[{index}].recipient")


def recipients_make_sense(admissible: Admissible, _: Policy, __: Principal) -> Iterator[Finding]:
    """SUSPICIOUS_PATTERN: what is paid to nobody, to a token or to a settler is lost."""
    destination = admissible.destination
    contracts = {token.address for token in destination.tokens.values()}
    contracts |= {destination.output_settler, destination.input_settler, destination.oracle, destination.permit2}
    for index, output in enumerate(admissible.order.outputs):
        field = f"order.outputs[{index}].recipient"
        recipient = clean_address(output.recipient)
        if recipient == ZERO_ADDRESS:
            yield _suspicious(field, "The recipient is the zero address.")
        elif recipient in contracts:
            yield _suspicious(
                field, "The recipient is a token or a contract of the settlement; the payment would be lost."
            )


def amounts_are_limited(admissible: Admissible, _: Policy, __: Principal) -> Iterator[Finding]:
    """SUSPICIOUS_PATTERN: nobody owns that much of anything."""
    order = admissible.order
    fields = [(f"order.inputs[{index}].amount", item.amount) for index, item in enumerate(order.inputs)]
    fields += [(f"order.outputs[{index}].amount", output.amount) for index, output in enumerate(order.outputs)]
    for field, amount in fields:
        if amount > _UNLIMITED_AMOUNT:
            yield _suspicious(field, "The amount is practically unlimited.")


def authorised_tokens_are_distinct(admissible: Admissible, _: Policy, __: Principal) -> Iterator[Finding]:
    """INVALID_SIGNATURE: a token takes one ERC-3009 authorisation per order id, so the second would revert."""
    if isinstance(admissible.signature, Permit2Signature):
        return
    tokens = [item.token for item in admissible.order.inputs]
    if len(set(tokens)) < len(tokens):
        yield Finding(
            "order.inputs",
            ErrorReason.ERROR_REASON_INVALID_SIGNATURE,
            "With ERC-3009 a token can be given only once in an order; add the amounts up or sign for Permit2.",
        )


CHECKS: tuple[SecurityCheck, ...] = (
    users_submit_for_themselves,
    nobody_is_banned,
    recipients_make_sense,
    amounts_are_limited,
    authorised_tokens_are_distinct,
)


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


def _banned(field: str) -> Finding:
    return Finding(field, ErrorReason.ERROR_REASON_BANNED, "This address is not served.")


def _suspicious(field: str, message: str) -> Finding:
    return Finding(field, ErrorReason.ERROR_REASON_SUSPICIOUS_PATTERN, message)
