"""Hypothesis strategies for orders."""

from hypothesis import strategies as st
from intentmesh.domain.order import Order, OrderInput, OrderOutput
from intentmesh.domain.types import UINT256_MAX, Address, Bytes32, ChainId

addresses = st.binary(min_size=20, max_size=20).map(Address)
words = st.binary(min_size=32, max_size=32).map(Bytes32)
amounts = st.integers(0, UINT256_MAX)
chain_ids = st.integers(1, 2**63 - 1).map(ChainId)
seconds = st.integers(1, 2**32 - 1)

inputs = st.builds(OrderInput, token=addresses, amount=amounts)
outputs = st.builds(
    OrderOutput,
    oracle=words,
    settler=words,
    chain_id=chain_ids,
    token=words,
    amount=amounts,
    recipient=words,
    callback_data=st.binary(max_size=100),
    context=st.binary(max_size=73),
)
orders = st.builds(
    Order,
    user=addresses,
    nonce=amounts,
    origin_chain_id=chain_ids,
    expires=seconds,
    fill_deadline=seconds,
    input_oracle=addresses,
    inputs=st.lists(inputs, min_size=1, max_size=3).map(tuple),
    outputs=st.lists(outputs, min_size=1, max_size=3).map(tuple),
)
