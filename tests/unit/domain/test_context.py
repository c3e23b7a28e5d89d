import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.domain.context import ContextKind, InvalidContext, OrderContext, may_fill, parse_context, resolve_amount
from intentmesh.domain.order import OrderOutput
from intentmesh.domain.types import UINT256_MAX, Bytes32, ChainId

from tests.unit.domain.strategies import seconds, words

_WORD = Bytes32(bytes(32))
_SOLVER, _OTHER = Bytes32(b"\x01" * 32), Bytes32(b"\x02" * 32)


def _output(context: bytes, amount: int = 1000) -> OrderOutput:
    return OrderOutput(_WORD, _WORD, ChainId(1), _WORD, amount, _WORD, b"", context)


contexts = st.one_of(
    st.just(OrderContext(ContextKind.LIMIT)),
    st.builds(
        OrderContext,
        kind=st.just(ContextKind.DUTCH),
        start=seconds,
        stop=seconds,
        slope=st.integers(0, UINT256_MAX),
    ),
    st.builds(OrderContext, kind=st.just(ContextKind.EXCLUSIVE_LIMIT), exclusive_solver=words, until=seconds),
    st.tuples(seconds, seconds, st.integers(0, UINT256_MAX), words).map(
        lambda t: OrderContext(
            ContextKind.EXCLUSIVE_DUTCH, start=t[0], stop=t[1], slope=t[2], exclusive_solver=t[3], until=t[0]
        )
    ),
)


@given(contexts)
def test_parse_context__any_encoded_context__comes_back(context):
    assert parse_context(context.encode()) == context


@given(st.binary(max_size=100))
def test_parse_context__any_bytes__are_read_or_refused(data):
    try:
        context = parse_context(data)
    except InvalidContext:
        return
    assert context.encode() == (data or b"\x00")


@pytest.mark.parametrize(("at", "amount"), [(50, 1100), (100, 1100), (105, 1050), (110, 1000), (200, 1000)])
def test_resolve_amount__dutch__falls_from_start_to_stop(at: int, amount: int) -> None:
    context = OrderContext(ContextKind.DUTCH, start=100, stop=110, slope=10)
    assert resolve_amount(_output(context.encode()), at) == amount


def test_resolve_amount__beyond_uint256__is_refused():
    context = OrderContext(ContextKind.DUTCH, start=100, stop=110, slope=UINT256_MAX)
    with pytest.raises(InvalidContext, match="overflows"):
        resolve_amount(_output(context.encode()), 105)
    assert resolve_amount(_output(context.encode()), 110) == 1000


@pytest.mark.parametrize("kind", [ContextKind.EXCLUSIVE_LIMIT, ContextKind.EXCLUSIVE_DUTCH])
def test_may_fill__exclusive__others_wait_until_it_ends(kind: ContextKind) -> None:
    output = _output(OrderContext(kind, start=100, stop=120, exclusive_solver=_SOLVER, until=100).encode())
    assert may_fill(output, _SOLVER, 99)
    assert not may_fill(output, _OTHER, 99)
    assert may_fill(output, _OTHER, 100)


def test_may_fill__limit__anyone():
    assert may_fill(_output(b""), _OTHER, 0)
