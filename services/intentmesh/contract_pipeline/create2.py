"""Addresses that follow from code, arguments and a salt: the deployer that stands at one address on every chain."""

from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address, parse_address

# Its calldata is the salt, then the creation code. Anvil has it from the start, as do most chains.
CREATE2_DEPLOYER = parse_address("0x4e59b44847b379578588920cA78FbF26c0B4956C")
# keccak256 of its 69 bytes of runtime code.
CREATE2_DEPLOYER_CODE_HASH = bytes.fromhex("2fa86add0aed31f33a762c9d88e807c475bd51d0f52bd0955754b2608f7e4989")
SALT_BYTES = 32


def salt_of(text: str) -> bytes:
    """32 bytes out of any text."""
    return keccak(text.encode())


def create2_address(salt: bytes, creation: bytes) -> Address:
    """Where the deployer puts this creation code, arguments included."""
    return Address(keccak(b"\xff" + CREATE2_DEPLOYER + salt + keccak(creation))[12:])


def create2_calldata(salt: bytes, creation: bytes) -> bytes:
    """What the deployer is called with."""
    return salt + creation


def split_calldata(data: bytes) -> tuple[bytes, bytes]:
    """Salt and creation code of a call of the deployer."""
    return data[:SALT_BYTES], data[SALT_BYTES:]
