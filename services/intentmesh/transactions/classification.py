"""What an error of a chain means for a transaction. Pure: texts and codes in, a class out.

Nodes have few codes and many wordings, so the words decide; an unknown wording counts as "outcome unknown", which is
always safe, since it only makes us look before we act.
"""

import re
from enum import Enum

from intentmesh.chain.errors import ChainUnavailable, EndpointError, Reverted


class ErrorClass(Enum):
    """What to do next."""

    # Outcome unknown: look up by hash and nonce, then send the same payload again.
    RETRY_SAME_PAYLOAD = "retry the same payload"
    # Resynchronise the nonce once, then plan anew.
    RETRY_NEW_NONCE = "retry with a new nonce"
    # Another transaction holds the nonce: only when replacing on purpose, with a higher fee.
    BUMP_FEE = "bump the fee at the same nonce"
    # As good as broadcast.
    ALREADY_IN_POOL = "already in the pool"
    # No pool has it: the nonce is free. Price it anew.
    DEFINITELY_REJECTED = "definitely rejected"
    # The same, and the signer rests until somebody sends it money.
    OUT_OF_FUNDS = "out of funds"
    # Somebody, maybe we ourselves, did this step already: advance only on proof from the chain.
    STAGE_MAY_BE_COMPLETE = "the stage may be complete"
    # Another solver was first: reconcile, nobody needs to be woken.
    LOST_RACE = "lost the race"
    # No repetition helps.
    TERMINAL = "terminal"
    # Right, but too early.
    NOT_YET = "not yet"
    # Our own call is wrong: no repetition, wake somebody.
    PROGRAMMING_ERROR = "programming error"


_INVALID_PARAMS = -32602

_REVERTS = {
    "InvalidOrderStatus": ErrorClass.STAGE_MAY_BE_COMPLETE,
    "ERC3009UsedAuthorization": ErrorClass.STAGE_MAY_BE_COMPLETE,
    "AlreadyFilled": ErrorClass.LOST_RACE,
    "NotProven": ErrorClass.NOT_YET,
    "TimestampNotPassed": ErrorClass.NOT_YET,
    "InvalidFillerData": ErrorClass.PROGRAMMING_ERROR,
    "SolveParamsLength": ErrorClass.PROGRAMMING_ERROR,
    "ReentrancyGuardReentrantCall": ErrorClass.PROGRAMMING_ERROR,
}

# First match counts. Of geth, reth, Erigon, Nethermind, Besu and Anvil, lower case.
_WORDINGS: dict[ErrorClass, tuple[str, ...]] = {
    ErrorClass.ALREADY_IN_POOL: ("already known", "known transaction", "already imported", "alreadyknown"),
    ErrorClass.BUMP_FEE: (
        "replacement transaction underpriced",
        "replacement.*(not allowed|too low)",
        "replacementnotallowed",
        "could not replace",
    ),
    ErrorClass.RETRY_NEW_NONCE: ("nonce (is )?too (low|old)", "oldnonce", "nonce.*already.*used"),
    ErrorClass.OUT_OF_FUNDS: (
        "insufficient ?funds",
        "insufficient (sender )?balance",
        "senderinsufficient",
        "not have enough funds",
        "upfront cost exceeds",
    ),
    ErrorClass.DEFINITELY_REJECTED: (
        "intrinsic gas",
        "fee.*(less|lower) than.*base ?fee",
        "max fee.*below",
        "feetoolow",
        "transaction underpriced",
        "gas price below",
        "tip.*(above|higher)",
        "nonce (is )?too (high|far)",
        "nonce ?gap",
        "(invalid|wrong) chain ?id",
        "pool (is )?(full|overflow)",
        "queue is full",
        "exceeds ?block ?gas ?limit",
        "gas limit (too high|reached|exceeded)",
    ),
}
_PATTERNS = {error_class: re.compile("|".join(words)) for error_class, words in _WORDINGS.items()}


def classify(error: Exception) -> ErrorClass:
    """The class of anything that calling a chain raises."""
    if isinstance(error, Reverted):
        return classify_revert(error.name)
    if isinstance(error, EndpointError):
        return classify_refusal(error.code, error.text)
    if isinstance(error, ChainUnavailable | TimeoutError | ConnectionError):
        return ErrorClass.RETRY_SAME_PAYLOAD
    return ErrorClass.PROGRAMMING_ERROR


def classify_revert(name: str) -> ErrorClass:
    """By the contract's own error; an unknown one is terminal for whoever tries, not for the order."""
    return _REVERTS.get(name, ErrorClass.TERMINAL)


def classify_refusal(code: int, text: str) -> ErrorClass:
    """By a node's JSON-RPC error."""
    lower = text.lower()
    for error_class, pattern in _PATTERNS.items():
        if pattern.search(lower):
            return error_class
    if code == _INVALID_PARAMS:
        return ErrorClass.PROGRAMMING_ERROR
    return ErrorClass.RETRY_SAME_PAYLOAD
