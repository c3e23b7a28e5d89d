"""Signatures: making and recovering them, and the two forms in which an order carries them.

An order's signature begins with a byte that names its form: 0x00 Permit2, 0x01 ERC-3009. The form "sender is the
sponsor" (0xff, or nothing) is one that the mesh cannot serve: it has no signature to give to a solver.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coincurve import PrivateKey, PublicKey

from intentmesh.domain.errors import InvalidArgument
from intentmesh.domain.keccak import keccak
from intentmesh.domain.order import abi_bytes, word
from intentmesh.domain.types import Address
from intentmesh.v1.error_pb2 import ErrorReason

SIGNATURE_BYTES = 65
# EIP-2098: the parity of y in the highest bit of s.
COMPACT_SIGNATURE_BYTES = 64

# As words, which compare as the numbers do.
_ZERO = word(0)
_CURVE_ORDER = bytes.fromhex("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141")
_LARGEST_LOW_S = word(int.from_bytes(_CURVE_ORDER, "big") // 2)
_PARITY_BIT = 0x80
_PERMIT2_FORM = 0x00
_ERC3009_FORM = 0x01
# As many as an order has inputs.
_MAX_SIGNATURES = 16


class InvalidSignature(InvalidArgument):
    """Not a canonical signature of a known kind."""

    default_reason = ErrorReason.ERROR_REASON_INVALID_SIGNATURE


# Immutable by their types, as orders are.
@dataclass(slots=True)
class Permit2Signature:
    """One signature over the whole order; of 64 or 65 bytes where the user is no contract."""

    signature: Final[bytes]


@dataclass(slots=True)
class Erc3009Signatures:
    """One signature per input, in the order's sequence."""

    signatures: Final[tuple[bytes, ...]]


def sign(digest: bytes, private_key: bytes) -> bytes:
    """r, s, v of 65 bytes; s low, v 27 or 28, deterministic."""
    signature = PrivateKey(private_key).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([27 + signature[64]])


def address_of(private_key: bytes) -> Address:
    """The account that this key controls."""
    return _address(PrivateKey(private_key).public_key)


def recover(digest: bytes, signature: bytes) -> Address:
    """Who signed. Accepts 65 bytes (v 27 or 28) or 64 (EIP-2098). Raises InvalidSignature when not canonical."""
    r, s, parity = _split(signature)
    if not _ZERO < r < _CURVE_ORDER:
        raise InvalidSignature("The signature's r is out of range.")
    if not _ZERO < s <= _LARGEST_LOW_S:
        raise InvalidSignature("The signature's s is not the low one.")
    try:
        key = PublicKey.from_signature_and_message(b"%b%b%c" % (r, s, parity), digest, hasher=None)
    except ValueError:
        raise InvalidSignature("No public key belongs to this signature.") from None
    return _address(key)


def decode_order_signature(signature: bytes, inputs: int) -> Permit2Signature | Erc3009Signatures:
    """Reads the signature of an order with that many inputs, by its form. Raises InvalidSignature."""
    if not signature:
        raise InvalidSignature("The order's signature is empty.")
    form, payload = signature[0], signature[1:]
    if not payload:
        raise InvalidSignature("The order's signature has a form but no content.")
    if form == _PERMIT2_FORM:
        return Permit2Signature(payload)
    if form != _ERC3009_FORM:
        raise InvalidSignature(
            f"Order signatures of form 0x{form:02x} are not served; 0x00 (Permit2) and 0x01 (ERC-3009) are."
        )
    if inputs == 1 and not _is_array_of_one(payload):
        return Erc3009Signatures((payload,))
    return Erc3009Signatures(_decode_array(payload))


def encode_permit2_signature(signature: bytes) -> bytes:
    """The order signature for `openFor`."""
    return bytes([_PERMIT2_FORM]) + signature


def encode_erc3009_signatures(signatures: Sequence[bytes]) -> bytes:
    """The order signature for `openFor`: `abi.encode(bytes[])`, or bare for one input.

    One that would be taken for an array is put into one.
    """
    if len(signatures) == 1 and not _is_array_of_one(signatures[0]):
        return bytes([_ERC3009_FORM]) + signatures[0]
    return bytes([_ERC3009_FORM]) + _encode_array(signatures)


def _split(signature: bytes) -> tuple[bytes, bytes, int]:
    """The words r and s, and the parity of y."""
    r, s = signature[:32], signature[32:64]
    if len(signature) == COMPACT_SIGNATURE_BYTES:
        return r, bytes([s[0] & ~_PARITY_BIT]) + s[1:], s[0] // _PARITY_BIT
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidSignature(f"A signature has 65 bytes, or 64 in compact form; this one has {len(signature)} bytes.")
    if signature[64] not in (27, 28):
        raise InvalidSignature("The signature's v must be 27 or 28.")
    return r, s, signature[64] - 27


def _address(key: PublicKey) -> Address:
    return Address(keccak(key.format(compressed=False)[1:])[12:])


def _is_array_of_one(payload: bytes) -> bool:
    """As `_isEncodedArray` of the settler's InputCollector, which it has to agree with."""
    # A key's bare signature has no such r and s. A wallet's may begin with 32, as every structure with bytes does.
    return len(payload) >= 4 * 32 and payload[:64] == word(32) + word(1)


def _decode_array(payload: bytes) -> tuple[bytes, ...]:
    """Only the one canonical encoding is accepted, so that two byte strings never carry the same signatures."""
    if payload[:32] != word(32):
        raise InvalidSignature("An order of several inputs carries a list of signatures, abi.encode(bytes[]).")
    count = int.from_bytes(payload[32:64], "big")
    if not 0 < count <= _MAX_SIGNATURES:
        raise InvalidSignature(f"An order carries 1 to {_MAX_SIGNATURES} signatures.")
    body = payload[64:]
    signatures = []
    for index in range(count):
        offset = int.from_bytes(body[32 * index : 32 * index + 32], "big")
        if offset + 32 > len(body):
            raise InvalidSignature("The list of signatures is cut short.")
        length = int.from_bytes(body[offset : offset + 32], "big")
        if offset + 32 + length > len(body):
            raise InvalidSignature("The list of signatures is cut short.")
        signatures.append(body[offset + 32 : offset + 32 + length])
    if _encode_array(signatures) != payload:
        raise InvalidSignature("The list of signatures is not encoded canonically.")
    return tuple(signatures)


def _encode_array(signatures: Sequence[bytes]) -> bytes:
    tails = [abi_bytes(signature) for signature in signatures]
    offsets = []
    offset = 32 * len(tails)
    for tail in tails:
        offsets.append(word(offset))
        offset += len(tail)
    return b"".join((word(32), word(len(tails)), *offsets, *tails))
