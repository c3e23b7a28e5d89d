"""The error table of the design, line by line."""

import pytest
from intentmesh.chain.errors import ChainUnavailable, EndpointError, Reverted
from intentmesh.transactions.classification import ErrorClass, classify

CHAIN = 1

# As nodes word it.
REFUSALS = [
    ("already known", ErrorClass.ALREADY_IN_POOL),
    ("transaction already imported", ErrorClass.ALREADY_IN_POOL),
    ("AlreadyKnown", ErrorClass.ALREADY_IN_POOL),
    ("Known transaction", ErrorClass.ALREADY_IN_POOL),
    ("replacement transaction underpriced", ErrorClass.BUMP_FEE),
    ("ReplacementNotAllowed", ErrorClass.BUMP_FEE),
    ("nonce too low: next nonce 5, tx nonce 4", ErrorClass.RETRY_NEW_NONCE),
    ("OldNonce", ErrorClass.RETRY_NEW_NONCE),
    ("insufficient funds for gas * price + value: balance 0, tx cost 1", ErrorClass.OUT_OF_FUNDS),
    ("Insufficient funds for gas * price + value", ErrorClass.OUT_OF_FUNDS),
    ("Upfront cost exceeds account balance", ErrorClass.OUT_OF_FUNDS),
    ("intrinsic gas too low", ErrorClass.DEFINITELY_REJECTED),
    ("intrinsic gas too high -- CallGasCostMoreThanGasLimit", ErrorClass.DEFINITELY_REJECTED),
    ("max fee per gas less than block base fee", ErrorClass.DEFINITELY_REJECTED),
    ("FeeTooLow, MaxFeePerGas too low", ErrorClass.DEFINITELY_REJECTED),
    ("transaction underpriced", ErrorClass.DEFINITELY_REJECTED),
    ("nonce too high", ErrorClass.DEFINITELY_REJECTED),
    ("invalid chain id for signer: have 1 want 2", ErrorClass.DEFINITELY_REJECTED),
    ("txpool is full", ErrorClass.DEFINITELY_REJECTED),
    ("exceeds block gas limit", ErrorClass.DEFINITELY_REJECTED),
    ("max priority fee per gas higher than max fee per gas: tip above fee cap", ErrorClass.DEFINITELY_REJECTED),
    ("something nobody has seen before", ErrorClass.RETRY_SAME_PAYLOAD),
    ("Internal error", ErrorClass.RETRY_SAME_PAYLOAD),
    ("", ErrorClass.RETRY_SAME_PAYLOAD),
]

REVERTS = [
    ("InvalidOrderStatus", ErrorClass.STAGE_MAY_BE_COMPLETE),
    ("AlreadyFilled", ErrorClass.LOST_RACE),
    ("FillDeadline", ErrorClass.TERMINAL),
    ("InvalidSigner", ErrorClass.TERMINAL),
    ("WrongChain", ErrorClass.TERMINAL),
    ("ExclusiveTo", ErrorClass.TERMINAL),
    ("", ErrorClass.TERMINAL),
    ("0x12345678", ErrorClass.TERMINAL),
    ("NotProven", ErrorClass.NOT_YET),
    ("TimestampNotPassed", ErrorClass.NOT_YET),
    ("SolveParamsLength", ErrorClass.PROGRAMMING_ERROR),
]


@pytest.mark.parametrize(("text", "expected"), REFUSALS)
def test_classify__refusal_of_a_node__by_its_words(text: str, expected: ErrorClass) -> None:
    assert classify(EndpointError(CHAIN, -32000, text)) is expected


@pytest.mark.parametrize(("name", "expected"), REVERTS)
def test_classify__revert__by_its_name(name: str, expected: ErrorClass) -> None:
    assert classify(Reverted(name, b"")) is expected


@pytest.mark.parametrize("error", [ChainUnavailable(CHAIN, "503"), TimeoutError(), ConnectionResetError()])
def test_classify__no_answer__outcome_unknown(error: Exception) -> None:
    assert classify(error) is ErrorClass.RETRY_SAME_PAYLOAD


@pytest.mark.parametrize("error", [EndpointError(CHAIN, -32602, "invalid params"), KeyError("bug")])
def test_classify__our_own_mistake__programming_error(error: Exception) -> None:
    assert classify(error) is ErrorClass.PROGRAMMING_ERROR
