"""Values that could be swapped, and their text forms. Inside the mesh all is raw bytes; text lives at the edges."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NewType, ParamSpec, TypeVar, cast

from intentmesh.domain.keccak import keccak

ChainId = NewType("ChainId", int)
# 32 bytes: the order id on chain.
IntentId = NewType("IntentId", bytes)
# 20 bytes.
Address = NewType("Address", bytes)
Bytes32 = NewType("Bytes32", bytes)

UINT256_MAX = 2**256 - 1
ADDRESS_BYTES = 20
WORD_BYTES = 32
ZERO_ADDRESS = Address(bytes(ADDRESS_BYTES))

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_WORD = re.compile(r"0x[0-9a-fA-F]{64}")
_PAD = bytes(WORD_BYTES - ADDRESS_BYTES)
# Tokens, settlers, oracles and active users come again and again; some 10 MB at most, all caches together.
_CACHED_ADDRESSES = 8_192

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def _cached(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """`lru_cache`, with the types that it forgets."""
    return cast("Callable[Given, Returned]", lru_cache(_CACHED_ADDRESSES)(function))


@_cached
def parse_address(text: str) -> Address:
    """Reads 0x and 40 hex digits in any case. Raises ValueError."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError("not an address: 0x and 40 hex digits are expected")
    return Address(bytes.fromhex(text[2:]))


@_cached
def parse_bytes32(text: str) -> Bytes32:
    """Reads 20 or 32 bytes of hex; 20 bytes are right-aligned. Raises ValueError."""
    if _ADDRESS.fullmatch(text):
        return Bytes32(_PAD + bytes.fromhex(text[2:]))
    if not _WORD.fullmatch(text):
        raise ValueError("not a 32-byte value: 0x and 64 (or 40) hex digits are expected")
    return Bytes32(bytes.fromhex(text[2:]))


def parse_intent_id(text: str) -> IntentId:
    """Reads 0x and 64 hex digits in any case. Raises ValueError."""
    if not _WORD.fullmatch(text):
        raise ValueError("not an intent id: 0x and 64 hex digits are expected")
    return IntentId(bytes.fromhex(text[2:]))


def parse_uint256(text: str) -> int:
    """Reads a canonical decimal without sign and leading zeros. Raises ValueError."""
    # Cheaper than a pattern, and as strict: of all that `int` reads only the canonical form comes back the same.
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0 or str(value) != text:
        raise ValueError("not an unsigned integer: decimal digits without leading zeros are expected")
    if value > UINT256_MAX:
        raise ValueError("larger than a uint256")
    return value


def format_intent_id(intent_id: bytes) -> str:
    """0x and 64 lower-case hex digits."""
    return "0x" + intent_id.hex()


@_cached
def format_address(value: bytes) -> str:
    """EIP-55 text of an address of 20 bytes, or right-aligned in 32; any other 32 bytes as lower-case hex."""
    if len(value) == WORD_BYTES:
        if value[: len(_PAD)] != _PAD:
            return "0x" + value.hex()
        value = value[len(_PAD) :]
    if len(value) != ADDRESS_BYTES:
        raise ValueError(f"an address has 20 or 32 bytes, not {len(value)}")
    digits = value.hex()
    checksum = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(check, 16) >= 8 else digit for digit, check in zip(digits, checksum, strict=False)
    )


@_cached
def to_bytes32(address: Address) -> Bytes32:
    """The word that stands for an address."""
    return Bytes32(_PAD + address)


@_cached
def clean_address(word: Bytes32) -> Address:
    """The address in a word. Raises ValueError when the upper 96 bits are not zero."""
    if len(word) != WORD_BYTES or word[: len(_PAD)] != _PAD:
        raise ValueError("the upper 96 bits of an address must be zero")
    return Address(word[len(_PAD) :])
