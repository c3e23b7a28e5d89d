"""Make an order from what a person says, and sign it: what a wallet does for its user."""

import secrets
from dataclasses import dataclass
from enum import StrEnum

from intentmesh.domain.digests import TokenDomain, erc3009_digest, permit2_digest
from intentmesh.domain.order import Order, OrderInput, OrderOutput
from intentmesh.domain.signatures import encode_erc3009_signatures, encode_permit2_signature, sign
from intentmesh.domain.types import Address, ChainId, to_bytes32

DEFAULT_FILL_WINDOW_SECONDS = 300
DEFAULT_EXPIRY_MARGIN_SECONDS = 3600
NONCE_BITS = 248


class Scheme(StrEnum):
    """How the user's signature lets the settler take the inputs."""

    PERMIT2 = "permit2"
    ERC3009 = "erc3009"


@dataclass(frozen=True, slots=True)
class ChainContracts:
    """The contracts an order names on one chain."""

    chain_id: ChainId
    input_settler: Address
    output_settler: Address
    oracle: Address
    permit2: Address


@dataclass(frozen=True, slots=True)
class TokenAmount:
    """An amount in the token's smallest unit."""

    token: Address
    amount: int


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order, the settler it is bound to, and the signature with its type byte."""

    order: Order
    settler: Address
    signature: bytes


def build_order(
    *,
    user: Address,
    recipient: Address,
    origin: ChainContracts,
    destination: ChainContracts,
    sell: TokenAmount,
    buy: TokenAmount,
    now: int,
    fill_window_seconds: int = DEFAULT_FILL_WINDOW_SECONDS,
    expiry_margin_seconds: int = DEFAULT_EXPIRY_MARGIN_SECONDS,
    context: bytes = b"",
) -> Order:
    """One input, one output, a random nonce.

    On one chain the output settler vouches for its own fills; between chains the attested oracles of both do.
    """
    same_chain = origin.chain_id == destination.chain_id
    oracle = destination.output_settler if same_chain else destination.oracle
    output = OrderOutput(
        oracle=to_bytes32(oracle),
        settler=to_bytes32(destination.output_settler),
        chain_id=destination.chain_id,
        token=to_bytes32(buy.token),
        amount=buy.amount,
        recipient=to_bytes32(recipient),
        callback_data=b"",
        context=context,
    )
    return Order(
        user=user,
        nonce=secrets.randbits(NONCE_BITS),
        origin_chain_id=origin.chain_id,
        expires=now + fill_window_seconds + expiry_margin_seconds,
        fill_deadline=now + fill_window_seconds,
        input_oracle=origin.output_settler if same_chain else origin.oracle,
        inputs=(OrderInput(sell.token, sell.amount),),
        outputs=(output,),
    )


def sign_permit2(order: Order, origin: ChainContracts, private_key: bytes) -> SignedOrder:
    """Sign the Permit2 witness that lets the settler pull the inputs. The user has approved Permit2 before."""
    digest = permit2_digest(order, origin.input_settler, origin.permit2)
    signature = encode_permit2_signature(sign(digest, private_key))
    return SignedOrder(order, origin.input_settler, signature)


def sign_erc3009(
    order: Order, origin: ChainContracts, domains: tuple[TokenDomain, ...], private_key: bytes
) -> SignedOrder:
    """Sign one ERC-3009 authorisation per input, `domains` in the sequence of the inputs. No approval is needed.

    Raises ValueError when there is not one domain for each input.
    """
    pairs = list(zip(domains, order.inputs, strict=True))
    signatures = [sign(erc3009_digest(d, order, origin.input_settler, i.amount), private_key) for d, i in pairs]
    return SignedOrder(order, origin.input_settler, encode_erc3009_signatures(signatures))
