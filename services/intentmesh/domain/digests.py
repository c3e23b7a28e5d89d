"""EIP-712 digests, packed by hand: the accept path computes one per order, and a general encoder is ten times slower.

Type strings are those of the published escrow ABI, of Permit2, of ERC-3009, and of the mesh's own signed requests.
"""

from dataclasses import dataclass
from functools import lru_cache

from intentmesh.domain.keccak import keccak
from intentmesh.domain.order import Order, OrderOutput, order_id, word
from intentmesh.domain.types import Address, Bytes32, ChainId, IntentId, to_bytes32

# The same address on every chain.
PERMIT2 = Address(bytes.fromhex("000000000022D473030F116dDEE9F6B43aC78BA3"))

_MANDATE_OUTPUT = (
    b"MandateOutput(bytes32 oracle,bytes32 settler,uint256 chainId,bytes32 token,uint256 amount,bytes32 recipient,"
    b"bytes callbackData,bytes context)"
)
_WITNESS = b"Permit2Witness(address user,uint32 expires,address inputOracle,MandateOutput[] outputs)"
_TOKEN_PERMISSIONS = b"TokenPermissions(address token,uint256 amount)"
_PERMIT_BATCH = (
    b"PermitBatchWitnessTransferFrom(TokenPermissions[] permitted,address spender,uint256 nonce,uint256 deadline,"
    b"Permit2Witness witness)"
)

_MANDATE_OUTPUT_TYPEHASH = keccak(_MANDATE_OUTPUT)
_WITNESS_TYPEHASH = keccak(_WITNESS + _MANDATE_OUTPUT)
_TOKEN_PERMISSIONS_TYPEHASH = keccak(_TOKEN_PERMISSIONS)
_PERMIT_BATCH_TYPEHASH = keccak(_PERMIT_BATCH + _MANDATE_OUTPUT + _WITNESS + _TOKEN_PERMISSIONS)
_RECEIVE_TYPEHASH = keccak(
    b"ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
    b"bytes32 nonce)"
)
_FILL_ATTESTATION_TYPEHASH = keccak(
    b"FillAttestation(uint256 remoteChainId,bytes32 remoteOracle,bytes32 application,bytes32 dataHash)"
)
_CANCEL_INTENT_TYPEHASH = keccak(b"CancelIntent(bytes32 intentId,uint64 validUntil)")
_REGISTER_SOLVER_TYPEHASH = keccak(b"RegisterSolver(address solver,string endpoint,uint64 signedTime)")
_DEREGISTER_SOLVER_TYPEHASH = keccak(b"DeregisterSolver(address solver,uint64 signedTime)")
_HEARTBEAT_TYPEHASH = keccak(b"Heartbeat(address solver,uint64 signedTime)")

_DOMAIN_PERMIT2_TYPEHASH = keccak(b"EIP712Domain(string name,uint256 chainId,address verifyingContract)")
_DOMAIN_FULL_TYPEHASH = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_DOMAIN_CHAIN_TYPEHASH = keccak(b"EIP712Domain(string name,string version,uint256 chainId)")
_DOMAIN_PLAIN_TYPEHASH = keccak(b"EIP712Domain(string name,string version)")

_PERMIT2_NAME_HASH = keccak(b"Permit2")
_MESH_NAME_HASH = keccak(b"IntentMesh")
_VERSION_1_HASH = keccak(b"1")
# Of an absent callback and of a plain limit order's context: nearly every output has both.
_EMPTY_HASH = keccak(b"")


@dataclass(frozen=True, slots=True)
class TokenDomain:
    """EIP-712 domain of a token that knows ERC-3009."""

    name: str
    version: str
    chain_id: ChainId
    address: Address


def permit2_digest(order: Order, settler: Address, permit2: Address = PERMIT2) -> bytes:
    """What the user signs to let `settler` take the inputs by Permit2, with the rest of the order as the witness."""
    permitted = b"".join(
        [keccak(_TOKEN_PERMISSIONS_TYPEHASH + to_bytes32(item.token) + word(item.amount)) for item in order.inputs]
    )
    struct = keccak(
        b"".join(
            (
                _PERMIT_BATCH_TYPEHASH,
                keccak(permitted),
                to_bytes32(settler),
                word(order.nonce),
                word(order.fill_deadline),
                _witness_hash(order),
            )
        )
    )
    return _digest(_permit2_domain(order.origin_chain_id, permit2), struct)


def erc3009_digest(token_domain: TokenDomain, order: Order, settler: Address, value: int) -> bytes:
    """What the user signs so that `settler` receives `value` of one input token; the nonce is the order id."""
    struct = keccak(
        b"".join(
            (
                _RECEIVE_TYPEHASH,
                to_bytes32(order.user),
                to_bytes32(settler),
                word(value),
                word(0),
                word(order.fill_deadline),
                order_id(order, settler),
            )
        )
    )
    domain = _full_domain(token_domain.name, token_domain.version, token_domain.chain_id, token_domain.address)
    return _digest(domain, struct)


def fill_attestation_digest(
    origin_chain_id: ChainId,
    oracle: Address,
    remote_chain_id: ChainId,
    remote_oracle: Bytes32,
    application: Bytes32,
    data_hash: Bytes32,
) -> bytes:
    """What an attester signs: `application` (the output settler) vouches for `data_hash` on the remote chain."""
    struct = keccak(
        b"".join((_FILL_ATTESTATION_TYPEHASH, word(remote_chain_id), remote_oracle, application, data_hash))
    )
    return _digest(_full_domain("AttestedOracle", "1", origin_chain_id, oracle), struct)


def cancel_intent_digest(chain_id: ChainId, intent_id: IntentId, valid_until: int) -> bytes:
    """What a user signs to withdraw an intent of this origin chain; void after `valid_until` (Unix seconds)."""
    return _digest(_mesh_domain(chain_id), keccak(_CANCEL_INTENT_TYPEHASH + intent_id + word(valid_until)))


def register_solver_digest(solver: Address, endpoint: str, signed_time: int) -> bytes:
    """What a solver signs to enter the registry; `signed_time` in Unix seconds."""
    struct = keccak(
        _REGISTER_SOLVER_TYPEHASH + to_bytes32(solver) + keccak(endpoint.encode()) + word(signed_time),
    )
    return _digest(_mesh_domain(None), struct)


def deregister_solver_digest(solver: Address, signed_time: int) -> bytes:
    """What a solver signs to leave the registry; `signed_time` in Unix seconds."""
    return _digest(_mesh_domain(None), keccak(_DEREGISTER_SOLVER_TYPEHASH + to_bytes32(solver) + word(signed_time)))


def heartbeat_digest(solver: Address, signed_time: int) -> bytes:
    """What a solver signs to show the registry that it lives; `signed_time` in Unix seconds."""
    return _digest(_mesh_domain(None), keccak(_HEARTBEAT_TYPEHASH + to_bytes32(solver) + word(signed_time)))


def _witness_hash(order: Order) -> bytes:
    outputs = b"".join([_mandate_output_hash(output) for output in order.outputs])
    return keccak(
        b"".join(
            (
                _WITNESS_TYPEHASH,
                to_bytes32(order.user),
                word(order.expires),
                to_bytes32(order.input_oracle),
                keccak(outputs),
            )
        )
    )


def _mandate_output_hash(output: OrderOutput) -> bytes:
    return keccak(
        b"".join(
            (
                _MANDATE_OUTPUT_TYPEHASH,
                output.oracle,
                output.settler,
                word(output.chain_id),
                output.token,
                word(output.amount),
                output.recipient,
                keccak(output.callback_data) if output.callback_data else _EMPTY_HASH,
                keccak(output.context) if output.context else _EMPTY_HASH,
            )
        )
    )


def _digest(domain_separator: bytes, struct_hash: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain_separator + struct_hash)


# Domains are few (chains times contracts), so the caches stay small.
@lru_cache(maxsize=256)
def _permit2_domain(chain_id: ChainId, permit2: Address) -> bytes:
    return keccak(_DOMAIN_PERMIT2_TYPEHASH + _PERMIT2_NAME_HASH + word(chain_id) + to_bytes32(permit2))


@lru_cache(maxsize=1024)
def _full_domain(name: str, version: str, chain_id: ChainId, contract: Address) -> bytes:
    return keccak(
        b"".join(
            (
                _DOMAIN_FULL_TYPEHASH,
                keccak(name.encode()),
                keccak(version.encode()),
                word(chain_id),
                to_bytes32(contract),
            )
        )
    )


@lru_cache(maxsize=256)
def _mesh_domain(chain_id: ChainId | None) -> bytes:
    if chain_id is None:
        return keccak(_DOMAIN_PLAIN_TYPEHASH + _MESH_NAME_HASH + _VERSION_1_HASH)
    return keccak(_DOMAIN_CHAIN_TYPEHASH + _MESH_NAME_HASH + _VERSION_1_HASH + word(chain_id))
