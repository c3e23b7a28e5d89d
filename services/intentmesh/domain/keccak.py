"""keccak256 as the EVM means it (not NIST's SHA-3)."""

import sha3


def keccak(data: bytes) -> bytes:
    """32 bytes."""
    digest: bytes = sha3.keccak_256(data).digest()
    return digest
