"""Private keys: where they come from, and what is signed with them. No key is ever shown."""

import os
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account

from intentmesh.chain.records import TransactionHash
from intentmesh.domain.signatures import address_of, sign
from intentmesh.domain.types import Address, ChainId, format_address
from intentmesh.transactions.model import Price

KEY_BYTES = 32


class KeyUnavailableError(ValueError):
    """A key reference leads to no key. The message names the reference, never what it holds."""


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """Ready to send."""

    raw: bytes
    hash: TransactionHash


class Signer:
    """One key. Signs EIP-1559 transactions and digests."""

    def __init__(self, private_key: bytes) -> None:
        self._key = private_key
        self.address: Address = address_of(private_key)

    def __repr__(self) -> str:
        return f"Signer({format_address(self.address)})"

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r, s, v. The same digest always gets the same signature."""
        return sign(digest, self._key)

    def sign_transaction(
        self, *, chain_id: ChainId, nonce: int, to: Address, data: bytes, value: int, gas_limit: int, price: Price
    ) -> SignedTransaction:
        """The same fields always give the same raw transaction."""
        signed = Account.sign_transaction(
            {
                "type": 2,
                "chainId": chain_id,
                "nonce": nonce,
                "to": format_address(to),
                "data": data,
                "value": value,
                "gas": gas_limit,
                "maxFeePerGas": price.max_fee,
                "maxPriorityFeePerGas": price.priority_fee,
            },
            self._key,
        )
        return SignedTransaction(bytes(signed.raw_transaction), TransactionHash(bytes(signed.hash)))


def load_key(reference: str) -> bytes:
    """The 32 bytes behind "env:NAME" or "file:PATH", both holding hex. Raises KeyUnavailableError."""
    kind, _, place = reference.partition(":")
    if kind == "env":
        text = os.environ.get(place)
        if text is None:
            raise KeyUnavailableError(f"{reference}: the variable is not set")
    elif kind == "file":
        try:
            text = Path(place).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            raise KeyUnavailableError(f"{reference}: the file cannot be read") from None
    else:
        # The whole text may be a key somebody put here by mistake.
        raise KeyUnavailableError("a key reference is env:NAME or file:PATH")
    return _parse_key(reference, text.strip())


def load_signer(reference: str) -> Signer:
    """Raises KeyUnavailableError."""
    return Signer(load_key(reference))


def _parse_key(reference: str, text: str) -> bytes:
    try:
        key = bytes.fromhex(text.removeprefix("0x"))
        if len(key) == KEY_BYTES:
            # Zero and numbers beyond the curve's order are no keys.
            address_of(key)
            return key
    except ValueError:
        pass
    raise KeyUnavailableError(f"{reference}: holds no private key (32 bytes of hex)") from None
