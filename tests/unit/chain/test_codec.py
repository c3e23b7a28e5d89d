"""Encoding and decoding by the kept interfaces, against golden orders and, when built, the compiled contracts."""

import json
from pathlib import Path

import pytest
from eth_abi.abi import decode
from intentmesh.chain.codec import Abi, MalformedData, load_abi, signature_of
from intentmesh.chain.errors import EndpointError
from intentmesh.chain.reverts import decode_revert, revert_of, tells_of_a_halt
from intentmesh.chain.structs import order_struct, output_struct, read_output
from intentmesh.domain.keccak import keccak
from intentmesh.domain.order import Order, OrderInput, OrderOutput
from intentmesh.domain.types import Address, Bytes32, ChainId

ARTIFACTS = Path(__file__).resolve().parents[3] / "build" / "contracts"
CONTRACTS = {
    "input_settler": "InputSettlerEscrow",
    "output_settler": "OutputSettler",
    "oracle": "AttestedOracle",
    "token": "LocalToken",
    "permit2": "Permit2",
}
# From the published interface; they hold for contracts that somebody else deployed as well.
PUBLISHED = {
    ("input_settler", "open"): "open((address,uint256,uint256,uint32,uint32,address,uint256[2][],"
    "(bytes32,bytes32,uint256,bytes32,uint256,bytes32,bytes,bytes)[]))",
    ("input_settler", "finalise"): "finalise((address,uint256,uint256,uint32,uint32,address,uint256[2][],"
    "(bytes32,bytes32,uint256,bytes32,uint256,bytes32,bytes,bytes)[]),(uint32,bytes32)[],bytes32,bytes)",
    (
        "output_settler",
        "fill",
    ): "fill(bytes32,(bytes32,bytes32,uint256,bytes32,uint256,bytes32,bytes,bytes),uint48,bytes)",
    ("output_settler", "setAttestation"): "setAttestation(bytes32,bytes32,uint32,"
    "(bytes32,bytes32,uint256,bytes32,uint256,bytes32,bytes,bytes))",
    ("oracle", "isProven"): "isProven(uint256,bytes32,bytes32,bytes32)",
}
WORD = Bytes32(b"\x01" * 32)
OUTPUT = OrderOutput(WORD, WORD, ChainId(7), WORD, 2**255, WORD, b"call", b"\x00")
ORDER = Order(
    Address(b"\x02" * 20),
    1,
    ChainId(7),
    20,
    10,
    Address(b"\x03" * 20),
    (OrderInput(Address(b"\x04" * 20), 5),),
    (OUTPUT,),
)


@pytest.mark.parametrize(("file", "contract"), CONTRACTS.items())
def test_abi__kept_entries__stand_in_the_compiled_contract(file: str, contract: str) -> None:
    artifact = ARTIFACTS / f"{contract}.sol" / f"{contract}.json"
    if not artifact.exists():
        pytest.skip("contracts are not built (make contracts)")
    compiled = {
        (entry["type"], signature_of(entry)): entry
        for entry in json.loads(artifact.read_text())["abi"]
        if "name" in entry
    }
    for entry in load_abi(file).entries:
        twin = compiled[entry["type"], signature_of(entry)]
        assert [part.get("indexed", False) for part in entry["inputs"]] == [
            part.get("indexed", False) for part in twin["inputs"]
        ]
        assert [part["type"] for part in entry.get("outputs", ())] == [part["type"] for part in twin.get("outputs", ())]
        assert entry.get("stateMutability") == twin.get("stateMutability")


@pytest.mark.parametrize(("place", "signature"), PUBLISHED.items())
def test_selector__published_signature__is_ours(place: tuple[str, str], signature: str) -> None:
    file, name = place
    assert load_abi(file).function(name).selector == keccak(signature.encode())[:4]


def test_order_struct__encoded_and_decoded__is_the_order() -> None:
    function = load_abi("input_settler").function("open")
    calldata = function.encode(order_struct(ORDER))
    assert calldata[:4] == function.selector
    (struct,) = decode(function.inputs, calldata[4:])
    assert struct[6] == ((int.from_bytes(ORDER.inputs[0].token, "big"), 5),)
    assert read_output(struct[7][0]) == OUTPUT


def test_read_output__of_its_own_struct__is_the_output() -> None:
    assert read_output(output_struct(OUTPUT)) == OUTPUT


@pytest.mark.parametrize("data", [b"", b"\x00" * 31], ids=["no contract", "short"])
def test_decode__too_little_data__malformed(data: bytes) -> None:
    with pytest.raises(MalformedData):
        load_abi("output_settler").function("getFillRecord").decode(data)


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(32, "big") for value in values)


REVERTS = {
    "InvalidOrderStatus": (bytes.fromhex("2916ae33"), {}),
    "FilledTooLate": (
        keccak(b"FilledTooLate(uint32,uint32)")[:4] + words(9, 10),
        {"fillDeadline": 9, "timestamp": 10},
    ),
    "Error": (bytes.fromhex("08c379a0") + words(32, 2) + b"no".ljust(32, b"\0"), {"message": "no"}),
    "Panic": (bytes.fromhex("4e487b71") + words(17), {"code": 17}),
    "0xdeadbeef": (bytes.fromhex("deadbeef00"), {}),
    "": (b"", {}),
    # Its arguments are cut off: the name still helps.
    "ExclusiveTo": (keccak(b"ExclusiveTo(bytes32)")[:4], {}),
}


@pytest.mark.parametrize(("name", "case"), REVERTS.items())
def test_decode_revert__by_selector__name_and_arguments(name: str, case: tuple[bytes, dict[str, object]]) -> None:
    data, arguments = case
    revert = decode_revert(data)
    assert (revert.name, revert.arguments, revert.data) == (name, arguments, data)
    assert revert.metadata == {"revert": name}


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (EndpointError(1, 3, "execution reverted", bytes.fromhex("2916ae33")), "InvalidOrderStatus"),
        (EndpointError(1, -32000, "execution reverted"), ""),
        (EndpointError(1, 3, "boom"), ""),
        (EndpointError(1, -32000, "nonce too low"), None),
    ],
)
def test_revert_of__errors_of_nodes__only_reverts_are(error: EndpointError, name: str | None) -> None:
    revert = revert_of(error)
    assert (None if revert is None else revert.name) == name


@pytest.mark.parametrize(
    ("text", "halts"),
    [
        ("EVM error InvalidFEOpcode", True),
        ("EVM error OpcodeNotFound", True),
        ("EVM error OutOfOffset", True),
        ("invalid opcode: INVALID", True),
        ("out of gas", True),
        ("stack underflow (0 <=> 2)", True),
        ("invalid jump destination", True),
        ("write protection", True),
        ("nonce too low", False),
        ("rate limit exceeded", False),
        ("header not found", False),
        ("execution aborted (timeout = 5s)", False),
    ],
)
def test_tells_of_a_halt__errors_of_nodes__only_those_of_the_code_do(text: str, halts: bool) -> None:
    assert tells_of_a_halt(EndpointError(1, -32603, text)) == halts


def test_abi__without_errors__knows_none() -> None:
    assert Abi([]).errors == {}
