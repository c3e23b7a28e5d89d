"""The golden vectors, made by viem and checked by a forge test as well: three implementations, one file."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from intentmesh.domain.convert import order_from_proto
from intentmesh.domain.digests import TokenDomain, erc3009_digest, fill_attestation_digest, permit2_digest
from intentmesh.domain.order import Order, fill_data_hash, fill_record_hash, order_id, output_hash
from intentmesh.domain.types import parse_address, parse_bytes32
from intentmesh.v1 import order_pb2

_FILE = Path(__file__).parents[2] / "golden" / "orders.json"
VECTORS: list[dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))["orders"]

every_vector = pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])


def _hex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _order(vector: dict[str, Any]) -> Order:
    fields = vector["order"]
    message = order_pb2.Order()
    ParseDict({**fields, "outputs": []}, message)
    for output in fields["outputs"]:
        message.outputs.add(
            **{**output, "callback_data": _hex(output["callback_data"]), "context": _hex(output["context"])}
        )
    return order_from_proto(message)


def test_golden_vectors__the_file__covers_what_orders_can_hold():
    orders = [_order(vector) for vector in VECTORS]
    assert len(orders) >= 8
    assert any(len(order.inputs) > 1 for order in orders)
    assert any(len(order.outputs) > 1 for order in orders)
    outputs = [output for order in orders for output in order.outputs]
    assert any(output.callback_data for output in outputs)
    assert {0x01, 0xE0, 0xE1} <= {output.context[0] for output in outputs if output.context}


@every_vector
def test_golden_vectors__order__has_the_same_id_and_digests(vector: dict[str, Any]) -> None:
    order, settler = _order(vector), parse_address(vector["settler"])
    assert order_id(order, settler) == _hex(vector["order_id"])
    assert permit2_digest(order, settler) == _hex(vector["permit2"]["digest"])
    for token in vector["erc3009"]:
        domain = TokenDomain(token["name"], token["version"], order.origin_chain_id, parse_address(token["token"]))
        assert erc3009_digest(domain, order, settler, int(token["value"])) == _hex(token["digest"])


@every_vector
def test_golden_vectors__fill__has_the_same_hashes(vector: dict[str, Any]) -> None:
    order, settler, fill = _order(vector), parse_address(vector["settler"]), vector["fill"]
    assert [output_hash(output) for output in order.outputs] == [_hex(text) for text in vector["output_hashes"]]
    output, solver = order.outputs[fill["output_index"]], parse_bytes32(fill["solver"])
    data_hash = fill_data_hash(order_id(order, settler), output, solver, fill["timestamp"])
    assert data_hash == _hex(fill["data_hash"])
    assert fill_record_hash(solver, fill["timestamp"]) == _hex(fill["record_hash"])
    digest = fill_attestation_digest(
        order.origin_chain_id, order.input_oracle, output.chain_id, output.oracle, output.settler, data_hash
    )
    assert digest == _hex(fill["attestation_digest"])
