"""keccak256 as the EVM means it (not NIST's SHA-3)."""

from sha3 import keccak_256


def keccak(data: bytes) -> bytes:
    """32 bytes."""
    digest: bytes = keccak_256(data).digest()
    return digest
