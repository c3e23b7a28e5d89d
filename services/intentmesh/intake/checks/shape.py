"""Layer 2: the order is one that the mesh serves: its chains, tokens, settlers, oracles, amounts, contexts and type."""

from collections.abc import Callable, Sequence
from operator import attrgetter

from intentmesh.chain.config import ChainConfig, NetworkConfig
from intentmesh.domain.context import InvalidContext, parse_context, resolve_amount
from intentmesh.domain.order import derive_type
from intentmesh.domain.signatures import Erc3009Signatures
from intentmesh.domain.types import Address, Bytes32, ChainId, clean_address, format_address, to_bytes32
from intentmesh.intake.candidate import Candidate, is_clean
from intentmesh.intake.findings import Finding
from intentmesh.intake.policy import Policy
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intent_pb2 import IntentType

_amount = attrgetter("amount")
_SWAP, _BRIDGE = IntentType.INTENT_TYPE_SWAP, IntentType.INTENT_TYPE_BRIDGE
_TYPES = frozenset((_SWAP, _BRIDGE, IntentType.INTENT_TYPE_TRANSFER))
# Each returns what it found; an order without faults, the usual one, costs no generator.
ShapeCheck = Callable[[Candidate, NetworkConfig, Policy], Sequence[Finding]]


def check_shape(candidate: Candidate, network: NetworkConfig, policy: Policy) -> list[Finding]:
    """Everything that is wrong with what the order asks for."""
    findings: list[Finding] = []
    for check in CHECKS:
        findings += check(candidate, network, policy)
    return findings


def chains_are_served(candidate: Candidate, network: NetworkConfig, _: Policy) -> Sequence[Finding]:
    """UNSUPPORTED_CHAIN for every chain that is not configured."""
    order = candidate.order
    found = []
    if candidate.origin is None:
        found.append(_unsupported_chain("order.origin_chain_id", order.origin_chain_id))
    for index, output in enumerate(order.outputs):
        if network.find(output.chain_id) is None:
            found.append(_unsupported_chain(f"{_output(index)}.chain_id", output.chain_id))
    return found


def outputs_are_on_one_chain(candidate: Candidate, _: NetworkConfig, __: Policy) -> Sequence[Finding]:
    """UNSUPPORTED_ROUTE otherwise: one solver fills all, and one route proves all."""
    outputs = candidate.order.outputs
    if len(outputs) == 1 or len({output.chain_id for output in outputs}) == 1:
        return ()
    reason = ErrorReason.ERROR_REASON_UNSUPPORTED_ROUTE
    return (Finding("order.outputs", reason, "All outputs of an order must be on one chain."),)


def type_is_the_declared_one(candidate: Candidate, _: NetworkConfig, __: Policy) -> Sequence[Finding]:
    """TYPE_MISMATCH, or SAME_BUY_AND_SELL_TOKEN for a swap into a token that is given."""
    declared, derived = candidate.declared_type, derive_type(candidate.order)
    if derived != _BRIDGE and _SWAP in (declared, derived):
        given = {to_bytes32(item.token) for item in candidate.order.inputs}
        for index, output in enumerate(candidate.order.outputs):
            if output.token in given:
                return (
                    Finding(
                        f"{_output(index)}.token",
                        ErrorReason.ERROR_REASON_SAME_BUY_AND_SELL_TOKEN,
                        "A swap must not buy a token that it sells.",
                    ),
                )
    # What is no type at all is a fault of form.
    if declared == derived or declared not in _TYPES:
        return ()
    declared_name, derived_name = _type_name(declared), _type_name(derived)
    return (
        Finding(
            "type",
            ErrorReason.ERROR_REASON_TYPE_MISMATCH,
            f"The order is a {derived_name}, not a {declared_name}.",
            {"declared": declared_name, "derived": derived_name},
        ),
    )


def input_tokens_are_served(candidate: Candidate, _: NetworkConfig, __: Policy) -> Sequence[Finding]:
    """UNSUPPORTED_TOKEN, also for a token that cannot take the signature's form."""
    if candidate.origin is None:
        return ()
    by_authorisation = isinstance(candidate.signature, Erc3009Signatures)
    found = []
    for index, item in enumerate(candidate.order.inputs):
        token = candidate.origin.token(item.token)
        if token is None:
            why = "is not served on this chain"
        elif by_authorisation and token.erc3009 is None:
            why = "takes no ERC-3009 authorisation; sign for Permit2"
        else:
            continue
        found.append(_unsupported_token(f"order.inputs[{index}].token", candidate.origin, item.token, why))
    return found


def output_tokens_are_served(candidate: Candidate, network: NetworkConfig, _: Policy) -> Sequence[Finding]:
    """UNSUPPORTED_TOKEN."""
    found = []
    for index, output in enumerate(candidate.order.outputs):
        chain = network.find(output.chain_id)
        if chain is None or not is_clean(output.token):
            continue
        token = clean_address(output.token)
        if chain.token(token) is None:
            found.append(_unsupported_token(f"{_output(index)}.token", chain, token, "is not served on this chain"))
    return found


def addresses_are_clean(candidate: Candidate, _: NetworkConfig, __: Policy) -> Sequence[Finding]:
    """INVALID_FIELD for a word that is no address: dropping its upper bits would name an account twice."""
    return [
        Finding(
            f"{_output(index)}.{name}",
            ErrorReason.ERROR_REASON_INVALID_FIELD,
            "The upper 12 bytes of an address must be zero.",
        )
        for index, output in enumerate(candidate.order.outputs)
        for name, word in (("token", output.token), ("recipient", output.recipient))
        if not is_clean(word)
    ]


def settlers_are_ours(candidate: Candidate, network: NetworkConfig, _: Policy) -> Sequence[Finding]:
    """UNSUPPORTED_SETTLER."""
    found = []
    for index, output in enumerate(candidate.order.outputs):
        chain = network.find(output.chain_id)
        if chain is None or output.settler == to_bytes32(chain.output_settler):
            continue
        expected = format_address(chain.output_settler)
        found.append(
            Finding(
                f"{_output(index)}.settler",
                ErrorReason.ERROR_REASON_UNSUPPORTED_SETTLER,
                f"On chain {chain.chain_id} outputs are settled by {expected}.",
                {"chain_id": str(chain.chain_id), "expected": expected},
            )
        )
    return found


def oracles_fit_the_route(candidate: Candidate, _: NetworkConfig, __: Policy) -> Sequence[Finding]:
    """UNSUPPORTED_ORACLE: the route's configured pair; on one chain the output settler itself will do as well."""
    if candidate.origin is None or candidate.destination is None:
        return ()
    pairs = _oracle_pairs(candidate.origin, candidate.destination)
    wrong = [
        index
        for index, output in enumerate(candidate.order.outputs)
        if (candidate.order.input_oracle, output.oracle) not in pairs
    ]
    if not wrong:
        return ()
    input_oracle, output_oracle = pairs[0]
    if candidate.order.input_oracle not in {pair[0] for pair in pairs}:
        return (_unsupported_oracle("order.input_oracle", format_address(input_oracle)),)
    return [_unsupported_oracle(f"{_output(index)}.oracle", format_address(output_oracle)) for index in wrong]


def amounts_are_not_zero(candidate: Candidate, _: NetworkConfig, __: Policy) -> Sequence[Finding]:
    """ZERO_AMOUNT."""
    order = candidate.order
    if all(map(_amount, order.inputs)) and all(map(_amount, order.outputs)):
        return ()
    fields = [f"order.inputs[{index}].amount" for index, item in enumerate(order.inputs) if item.amount == 0]
    fields += [f"{_output(index)}.amount" for index, output in enumerate(order.outputs) if output.amount == 0]
    reason = ErrorReason.ERROR_REASON_ZERO_AMOUNT
    return [Finding(field, reason, "The amount must not be zero.") for field in fields]


def contexts_are_served(candidate: Candidate, _: NetworkConfig, __: Policy) -> Sequence[Finding]:
    """INVALID_CONTEXT: unknown kind, wrong length, an overflowing price, or a moving one beyond the first output; an
    exclusive solver that is no address, so that nobody could fill."""
    found = []
    for index, output in enumerate(candidate.order.outputs):
        if not output.context:
            continue
        try:
            context = parse_context(output.context)
            # The price is highest at the beginning of time.
            resolve_amount(output, at=0)
        except InvalidContext as error:
            fault = error.message
        else:
            if context.exclusive_solver is not None and not _is_account(context.exclusive_solver):
                fault = "The exclusive solver is no address."
            elif index and context.moves_with_time:
                fault = "Only the first output's amount may move with time."
            else:
                continue
        found.append(Finding(f"{_output(index)}.context", ErrorReason.ERROR_REASON_INVALID_CONTEXT, fault))
    return found


def outputs_are_distinct(candidate: Candidate, _: NetworkConfig, __: Policy) -> Sequence[Finding]:
    """DUPLICATE_OUTPUT: one fill would satisfy both."""
    outputs = candidate.order.outputs
    if len(outputs) == 1:
        return ()
    return [
        Finding(
            _output(index),
            ErrorReason.ERROR_REASON_DUPLICATE_OUTPUT,
            "Another output is the same in every field; a single fill would satisfy both.",
        )
        for index, output in enumerate(outputs)
        if output in outputs[:index]
    ]


def callbacks_are_allowed(candidate: Candidate, _: NetworkConfig, policy: Policy) -> Sequence[Finding]:
    """CALLBACK_NOT_ALLOWED."""
    if policy.callbacks_allowed:
        return ()
    return [
        Finding(
            f"{_output(index)}.callback_data",
            ErrorReason.ERROR_REASON_CALLBACK_NOT_ALLOWED,
            "Callback data is not served here.",
        )
        for index, output in enumerate(candidate.order.outputs)
        if output.callback_data
    ]


CHECKS: tuple[ShapeCheck, ...] = (
    chains_are_served,
    outputs_are_on_one_chain,
    type_is_the_declared_one,
    addresses_are_clean,
    input_tokens_are_served,
    output_tokens_are_served,
    settlers_are_ours,
    oracles_fit_the_route,
    amounts_are_not_zero,
    contexts_are_served,
    outputs_are_distinct,
    callbacks_are_allowed,
)


def _is_account(word: Bytes32) -> bool:
    return is_clean(word) and any(word)


def _output(index: int) -> str:
    return f"order.outputs[{index}]"


def _oracle_pairs(origin: ChainConfig, destination: ChainConfig) -> list[tuple[Address, Bytes32]]:
    attested = (origin.oracle, to_bytes32(destination.oracle))
    if origin.chain_id != destination.chain_id:
        return [attested]
    return [(origin.output_settler, to_bytes32(origin.output_settler)), attested]


def _unsupported_chain(field: str, chain_id: ChainId) -> Finding:
    return Finding(
        field,
        ErrorReason.ERROR_REASON_UNSUPPORTED_CHAIN,
        f"Chain {chain_id} is not served.",
        {"chain_id": str(chain_id)},
    )


def _unsupported_token(field: str, chain: ChainConfig, token: Address, why: str) -> Finding:
    return Finding(
        field,
        ErrorReason.ERROR_REASON_UNSUPPORTED_TOKEN,
        f"Token {format_address(token)} {why}.",
        {"chain_id": str(chain.chain_id), "token": format_address(token)},
    )


def _unsupported_oracle(field: str, expected: str) -> Finding:
    return Finding(
        field,
        ErrorReason.ERROR_REASON_UNSUPPORTED_ORACLE,
        f"Fills of this route are proven by {expected}.",
        {"expected": expected},
    )


def _type_name(value: "IntentType.ValueType") -> str:
    return IntentType.Name(value).removeprefix("INTENT_TYPE_")
