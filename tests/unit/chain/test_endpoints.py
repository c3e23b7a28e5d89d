"""Which of several endpoints' answers counts."""

from collections.abc import Sequence

import pytest
from intentmesh.chain.endpoints import EndpointPool, _Endpoint, _NoAnswerError
from intentmesh.chain.errors import ChainUnavailable, EndpointError
from intentmesh.transactions.classification import ErrorClass, classify

REFUSAL = EndpointError(1, -32000, "insufficient funds for gas * price + value")
OVERLOADED = EndpointError(1, -32603, "internal error")


class Endpoint:
    """Answers every request alike."""

    def __init__(self, answer: Exception | str) -> None:
        self.answer = answer
        self.shown = "node"
        self.failed_until = 0.0

    async def request(self, _method: str, _params: Sequence[object]) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def pool(*answers: Exception | str) -> EndpointPool:
    made = EndpointPool(1, (), 1.0)
    made._endpoints = [Endpoint(answer) for answer in answers]  # type: ignore[misc]  # stand-ins
    return made


@pytest.mark.parametrize("first", [_NoAnswerError("timed out"), OVERLOADED], ids=["silent", "overloaded"])
async def test_request__refused_after_another_endpoint_may_have_taken_it__outcome_is_unknown(first: Exception) -> None:
    with pytest.raises(ChainUnavailable) as unknown:
        await pool(first, REFUSAL).request("eth_sendRawTransaction", "0x", first_error_counts=True)
    assert classify(unknown.value) is ErrorClass.RETRY_SAME_PAYLOAD


@pytest.mark.parametrize("code", [-32004, -32603, -32005])
async def test_request__all_have_trouble_of_their_own__outcome_is_unknown(code: int) -> None:
    # As Besu words a refusal, with a code that says as much as "not supported".
    refusal = EndpointError(1, code, "Upfront cost exceeds account balance")
    for first in (_NoAnswerError("timed out"), OVERLOADED):
        with pytest.raises(ChainUnavailable) as unknown:
            await pool(first, refusal).request("eth_sendRawTransaction", "0x", first_error_counts=True)
        assert classify(unknown.value) is ErrorClass.RETRY_SAME_PAYLOAD
    with pytest.raises(EndpointError):
        await pool(refusal).request("eth_sendRawTransaction", "0x", first_error_counts=True)


@pytest.mark.parametrize("says", ["0x", "", "mainnet", "0x2", None, 1])
async def test_request__endpoint_that_cannot_say_its_chain__is_none_that_answers(
    says: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def post(_: _Endpoint, method: str, __: Sequence[object]) -> object:
        return {"result": says if method == "eth_chainId" else "0x10"}

    monkeypatch.setattr(_Endpoint, "_post", post)
    with pytest.raises(_NoAnswerError, match="serves chain"):
        await _Endpoint("http://node", 1, 1.0).request("eth_blockNumber", ())


async def test_request__refused_by_the_first__is_refused() -> None:
    with pytest.raises(EndpointError) as refused:
        await pool(REFUSAL, "0x01").request("eth_sendRawTransaction", "0x", first_error_counts=True)
    assert classify(refused.value) is ErrorClass.OUT_OF_FUNDS


async def test_request__url_that_is_none__is_not_told() -> None:
    asked = EndpointPool(1, ("node.example/v2/ABCDEF",), 5.0)
    with pytest.raises(ChainUnavailable) as caught:
        await asked.request("eth_blockNumber")
    await asked.close()
    assert "ABCDEF" not in str(caught.value)
