import pytest
from hypothesis import given
from intentmesh.domain.types import (
    UINT256_MAX,
    Bytes32,
    clean_address,
    format_address,
    format_intent_id,
    parse_address,
    parse_bytes32,
    parse_intent_id,
    parse_uint256,
    to_bytes32,
)

from tests.unit.domain.strategies import addresses, words

# From EIP-55.
CHECKSUMMED = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@pytest.mark.parametrize("text", CHECKSUMMED)
def test_format_address__vectors_of_eip55__come_back(text: str) -> None:
    assert format_address(parse_address(text.lower())) == text
    assert format_address(parse_bytes32(text)) == text


@given(addresses)
def test_clean_address__word_of_an_address__round_trips(address):
    assert clean_address(to_bytes32(address)) == address
    assert parse_address(format_address(address)) == address


@given(words)
def test_format_address__any_word__round_trips(word):
    assert parse_bytes32(format_address(word)) == word
    assert parse_intent_id(format_intent_id(word)) == word


def test_clean_address__upper_bit_set__is_refused():
    with pytest.raises(ValueError, match="upper 96 bits"):
        clean_address(Bytes32(b"\x80" + bytes(31)))


@pytest.mark.parametrize("text", ["", "0x", "0X" + "0" * 40, "0x" + "0" * 39, "0x" + "g" * 40, "0x" + "0" * 40 + "\n"])
def test_parse_address__malformed__is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        parse_address(text)


@pytest.mark.parametrize("text", ["", "-1", "01", "1_0", " 1", "1\n", "٣", "0x1", str(UINT256_MAX + 1)])
def test_parse_uint256__not_canonical__is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unsigned integer|larger than"):
        parse_uint256(text)


def test_parse_uint256__largest__is_read():
    assert parse_uint256(str(UINT256_MAX)) == UINT256_MAX
