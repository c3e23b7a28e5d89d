"""The hand-packed digests against eth-account's general EIP-712 encoder."""

from typing import Any

from eth_account.messages import encode_typed_data
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from intentmesh.domain.digests import (
    PERMIT2,
    TokenDomain,
    cancel_intent_digest,
    deregister_solver_digest,
    erc3009_digest,
    fill_attestation_digest,
    heartbeat_digest,
    permit2_digest,
    register_solver_digest,
)
from intentmesh.domain.order import order_id
from intentmesh.domain.types import IntentId

from tests.unit.domain.strategies import addresses, amounts, chain_ids, orders, seconds, words

_CHAIN = {"name": "chainId", "type": "uint256"}
_CONTRACT = {"name": "verifyingContract", "type": "address"}
_NAME = {"name": "name", "type": "string"}
_VERSION = {"name": "version", "type": "string"}


def _members(text: str) -> list[dict[str, str]]:
    return [dict(zip(("type", "name"), member.split(), strict=True)) for member in text.split(",")]


def _digest(domain_type: list[dict[str, str]], domain: dict[str, Any], types: dict[str, str], message: Any) -> bytes:
    primary = next(iter(types))
    signable = encode_typed_data(
        full_message={
            "types": {"EIP712Domain": domain_type} | {name: _members(members) for name, members in types.items()},
            "primaryType": primary,
            "domain": domain,
            "message": message,
        }
    )
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


@settings(deadline=None)
@given(orders, addresses)
def test_permit2_digest__any_order__is_that_of_a_general_encoder(order, settler):
    expected = _digest(
        [_NAME, _CHAIN, _CONTRACT],
        {"name": "Permit2", "chainId": order.origin_chain_id, "verifyingContract": PERMIT2},
        {
            "PermitBatchWitnessTransferFrom": (
                "TokenPermissions[] permitted,address spender,uint256 nonce,uint256 deadline,Permit2Witness witness"
            ),
            "TokenPermissions": "address token,uint256 amount",
            "Permit2Witness": "address user,uint32 expires,address inputOracle,MandateOutput[] outputs",
            "MandateOutput": (
                "bytes32 oracle,bytes32 settler,uint256 chainId,bytes32 token,uint256 amount,bytes32 recipient,"
                "bytes callbackData,bytes context"
            ),
        },
        {
            "permitted": [{"token": item.token, "amount": item.amount} for item in order.inputs],
            "spender": settler,
            "nonce": order.nonce,
            "deadline": order.fill_deadline,
            "witness": {
                "user": order.user,
                "expires": order.expires,
                "inputOracle": order.input_oracle,
                "outputs": [
                    {
                        "oracle": output.oracle,
                        "settler": output.settler,
                        "chainId": output.chain_id,
                        "token": output.token,
                        "amount": output.amount,
                        "recipient": output.recipient,
                        "callbackData": output.callback_data,
                        "context": output.context,
                    }
                    for output in order.outputs
                ],
            },
        },
    )
    assert permit2_digest(order, settler) == expected


@settings(deadline=None)
@given(orders, addresses, addresses, amounts)
def test_erc3009_digest__any_order__is_that_of_a_general_encoder(order, settler, token, value):
    domain = TokenDomain("USD Coin", "2", order.origin_chain_id, token)
    expected = _digest(
        [_NAME, _VERSION, _CHAIN, _CONTRACT],
        {"name": "USD Coin", "version": "2", "chainId": order.origin_chain_id, "verifyingContract": token},
        {
            "ReceiveWithAuthorization": (
                "address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce"
            )
        },
        {
            "from": order.user,
            "to": settler,
            "value": value,
            "validAfter": 0,
            "validBefore": order.fill_deadline,
            "nonce": order_id(order, settler),
        },
    )
    assert erc3009_digest(domain, order, settler, value) == expected


@settings(deadline=None)
@given(chain_ids, addresses, chain_ids, words, words, words)
def test_fill_attestation_digest__any_fill__is_that_of_a_general_encoder(
    origin, oracle, remote, remote_oracle, application, data_hash
):
    expected = _digest(
        [_NAME, _VERSION, _CHAIN, _CONTRACT],
        {"name": "AttestedOracle", "version": "1", "chainId": origin, "verifyingContract": oracle},
        {"FillAttestation": "uint256 remoteChainId,bytes32 remoteOracle,bytes32 application,bytes32 dataHash"},
        {"remoteChainId": remote, "remoteOracle": remote_oracle, "application": application, "dataHash": data_hash},
    )
    assert fill_attestation_digest(origin, oracle, remote, remote_oracle, application, data_hash) == expected


@settings(deadline=None)
@given(chain_ids, words, st.integers(0, 2**64 - 1))
def test_cancel_intent_digest__any_intent__is_that_of_a_general_encoder(chain, intent_id, valid_until):
    expected = _digest(
        [_NAME, _VERSION, _CHAIN],
        {"name": "IntentMesh", "version": "1", "chainId": chain},
        {"CancelIntent": "bytes32 intentId,uint64 validUntil"},
        {"intentId": intent_id, "validUntil": valid_until},
    )
    assert cancel_intent_digest(chain, IntentId(intent_id), valid_until) == expected


@settings(deadline=None)
@given(addresses, st.text(max_size=50), seconds)
def test_solver_digests__any_solver__are_those_of_a_general_encoder(solver, endpoint, signed):
    domain = {"name": "IntentMesh", "version": "1"}
    assert register_solver_digest(solver, endpoint, signed) == _digest(
        [_NAME, _VERSION],
        domain,
        {"RegisterSolver": "address solver,string endpoint,uint64 signedTime"},
        {"solver": solver, "endpoint": endpoint, "signedTime": signed},
    )
    assert deregister_solver_digest(solver, signed) == _digest(
        [_NAME, _VERSION],
        domain,
        {"DeregisterSolver": "address solver,uint64 signedTime"},
        {"solver": solver, "signedTime": signed},
    )
    assert heartbeat_digest(solver, signed) == _digest(
        [_NAME, _VERSION],
        domain,
        {"Heartbeat": "address solver,uint64 signedTime"},
        {"solver": solver, "signedTime": signed},
    )
