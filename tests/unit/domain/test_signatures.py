import contextlib

import pytest
from eth_abi.abi import encode
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.domain.signatures import (
    Erc3009Signatures,
    InvalidSignature,
    Permit2Signature,
    address_of,
    decode_order_signature,
    encode_erc3009_signatures,
    encode_permit2_signature,
    recover,
    sign,
)

from tests.unit.domain.strategies import words

# Anvil's first public development key.
KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
DIGEST = bytes(range(32))
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

keys = st.integers(1, _CURVE_ORDER - 1).map(lambda value: value.to_bytes(32, "big"))


def test_address_of__public_development_key__is_its_known_account():
    assert address_of(KEY).hex() == "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"


@given(words, keys)
def test_sign__any_digest_and_key__is_that_of_eth_account(digest, key):
    signature = sign(digest, key)
    assert signature == bytes(Account.unsafe_sign_hash(digest, key).signature)
    assert recover(digest, signature) == address_of(key)


@given(words, keys)
def test_recover__compact_form__is_the_same_signer(digest, key):
    signature = sign(digest, key)
    s = int.from_bytes(signature[32:64], "big") | ((signature[64] - 27) << 255)
    assert recover(digest, signature[:32] + s.to_bytes(32, "big")) == address_of(key)


def test_recover__high_s__is_refused():
    signature = sign(DIGEST, KEY)
    s = _CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    malleable = signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])
    with pytest.raises(InvalidSignature, match="not the low one"):
        recover(DIGEST, malleable)


@pytest.mark.parametrize("v", [0, 1, 26, 29, 255])
def test_recover__other_v__is_refused(v: int) -> None:
    with pytest.raises(InvalidSignature, match="27 or 28"):
        recover(DIGEST, sign(DIGEST, KEY)[:64] + bytes([v]))


@pytest.mark.parametrize("size", [0, 1, 63, 66, 100])
def test_recover__other_length__is_refused(size: int) -> None:
    with pytest.raises(InvalidSignature, match="65 bytes"):
        recover(DIGEST, bytes(size))


@given(words, st.binary(min_size=65, max_size=65))
def test_recover__any_bytes__recover_or_are_refused(digest, signature):
    with contextlib.suppress(InvalidSignature):
        assert len(recover(digest, signature)) == 20


def test_recover__r_that_is_no_point__is_refused():
    # 5 is the x coordinate of no point of the curve.
    with pytest.raises(InvalidSignature, match="No public key"):
        recover(DIGEST, (5).to_bytes(32, "big") + (1).to_bytes(32, "big") + bytes([27]))


def test_decode_order_signature__permit2__comes_back():
    assert decode_order_signature(encode_permit2_signature(b"\x01" * 65), 1) == Permit2Signature(b"\x01" * 65)


def test_encode_erc3009_signatures__one__stands_bare():
    assert encode_erc3009_signatures([b"\x02" * 65]) == b"\x01" + b"\x02" * 65


@given(st.lists(st.binary(min_size=65, max_size=65), min_size=2, max_size=16))
def test_encode_erc3009_signatures__several__are_an_abi_array_and_come_back(signatures):
    encoded = encode_erc3009_signatures(signatures)
    assert encoded == b"\x01" + encode(["bytes[]"], [signatures])
    assert decode_order_signature(encoded, len(signatures)) == Erc3009Signatures(tuple(signatures))


def test_decode_order_signature__array_of_one__is_read():
    encoded = b"\x01" + encode(["bytes[]"], [[b"\x02" * 65]])
    assert decode_order_signature(encoded, 1) == Erc3009Signatures((b"\x02" * 65,))


@pytest.mark.parametrize("owner", [0, 2, 3, 2**256 - 1])
def test_decode_order_signature__wallets_own_structure__stands_bare(owner: int) -> None:
    # A structure with bytes in it begins with 32, as an array does; only a 1 behind that makes it one to the settler.
    wrapped = encode(["(uint256,bytes)"], [(owner, b"\x02" * 65)])
    assert decode_order_signature(b"\x01" + wrapped, 1) == Erc3009Signatures((wrapped,))
    assert encode_erc3009_signatures([wrapped]) == b"\x01" + wrapped


def test_decode_order_signature__wallets_own_structure_with_a_one__is_taken_for_an_array() -> None:
    wrapped = encode(["(uint256,bytes)"], [(1, b"\x02" * 65)])
    with pytest.raises(InvalidSignature):
        decode_order_signature(b"\x01" + wrapped, 1)
    encoded = encode_erc3009_signatures([wrapped])
    assert encoded == b"\x01" + encode(["bytes[]"], [[wrapped]])
    assert decode_order_signature(encoded, 1) == Erc3009Signatures((wrapped,))


@pytest.mark.parametrize("size", [65, 127, 128])
def test_decode_order_signature__bare_for_several_inputs__is_refused(size: int) -> None:
    with pytest.raises(InvalidSignature, match="list of signatures"):
        decode_order_signature(b"\x01" + bytes(size), 2)


def test_decode_order_signature__too_short_for_an_array__stands_bare() -> None:
    payload = (encode(["uint256", "uint256"], [32, 1]) + bytes(64))[:127]
    assert decode_order_signature(b"\x01" + payload, 1) == Erc3009Signatures((payload,))


@pytest.mark.parametrize("signature", [b"", b"\x00", b"\x01", b"\xff", b"\xff" + bytes(65), b"\x02" + bytes(65)])
def test_decode_order_signature__unserved_form__is_refused(signature: bytes) -> None:
    with pytest.raises(InvalidSignature):
        decode_order_signature(signature, 1)


@given(st.binary(max_size=300), st.integers(1, 3))
def test_decode_order_signature__any_array_like_bytes__are_read_canonically_or_refused(tail, inputs):
    data = b"\x01" + (32).to_bytes(32, "big") + tail
    try:
        decoded = decode_order_signature(data, inputs)
    except InvalidSignature:
        return
    assert isinstance(decoded, Erc3009Signatures)


def test_decode_order_signature__array_with_trailing_bytes__is_refused():
    encoded = b"\x01" + encode(["bytes[]"], [[b"\x02" * 65, b"\x03" * 65]])
    with pytest.raises(InvalidSignature, match="canonically"):
        decode_order_signature(encoded + bytes(32), 2)
    with pytest.raises(InvalidSignature, match="cut short"):
        decode_order_signature(encoded[:-60], 2)
