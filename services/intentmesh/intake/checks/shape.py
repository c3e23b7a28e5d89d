"""Layer 2: the order is one that the mesh serves: its chains, tokens, settlers, oracles, amounts, contexts and type."""

from collections.abc import Callable, Iterator

from intentmesh.chain.config import ChainConfig, NetworkConfig
from intentmesh.domain.context import InvalidContext, parse_context, resolve_amount
from intentmesh.domain.order import OrderOutput, derive_type
from intentmesh.domain.signatures import Erc3009Signatures
from intentmesh.domain.types import Address, Bytes32, ChainId, clean_address, format_address, to_bytes32
from intentmesh.intake.candidate import Candidate, is_clean
from intentmesh.intake.findings import Finding
from intentmesh.intake.policy import Policy
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intent_pb2 import IntentType

ShapeCheck = Callable[[Candidate, NetworkConfig, Policy], Iterator[Finding]]


def check_shape(candidate: Candidate, network: NetworkConfig, policy: Policy) -> list[Finding]:
    """Everything that is wrong with what the order asks for."""
    return [finding for check in CHECKS for finding in check(candidate, network, policy)]


def chains_are_served(candidate: Candidate, network: NetworkConfig, _: Policy) -> Iterator[Finding]:
    """UNSUPPORTED_CHAIN for every chain that is not configured."""
    if candidate.origin is None:
        yield _unsupported_chain("order.origin_chain_id", candidate.order.origin_chain_id)
    for field, output in _outputs(candidate):
        if network.find(output.chain_id) is None:
            yield _unsupported_chain(f"{field}.chain_id", output.chain_id)


def outputs_are_on_one_chain(candidate: Candidate, _: NetworkConfig, __: Policy) -> Iterator[Finding]:
    """UNSUPPORTED_ROUTE otherwise: one solver fills all, and one route proves all."""
    if len({output.chain_id for output in candidate.order.outputs}) > 1:
        yield Finding(
            "order.outputs",
            ErrorReason.ERROR_REASON_UNSUPPORTED_ROUTE,
            "All outputs of an order must be on one chain.",
        )


def type_is_the_declared_one(candidate: Candidate, _: NetworkConfig, __: Policy) -> Iterator[Finding]:
    """TYPE_MISMATCH, or SAME_BUY_AND_SELL_TOKEN for a swap into a token that is given."""
    derived = derive_type(candidate.order)
    inputs = {to_bytes32(item.token) for item in candidate.order.inputs}
    if IntentType.INTENT_TYPE_SWAP in (candidate.declared_type, derived) and derived != IntentType.INTENT_TYPE_BRIDGE:
        for field, output in _outputs(candidate):
            if output.token in inputs:
                yield Finding(
                    f"{field}.token",
                    ErrorReason.ERROR_REASON_SAME_BUY_AND_SELL_TOKEN,
                    "A swap must not buy a token that it sells.",
                )
                return
    if candidate.declared_type != derived:
        declared_name, derived_name = _type_name(candidate.declared_type), _type_name(derived)
        yield Finding(
            "type",
            ErrorReason.ERROR_REASON_TYPE_MISMATCH,
            f"The order is a {derived_name}, not a {declared_name}.",
            {"declared": declared_name, "derived": derived_name},
        )


def input_tokens_are_served(candidate: Candidate, _: NetworkConfig, __: Policy) -> Iterator[Finding]:
    """UNSUPPORTED_TOKEN, also for a token that cannot take the signature's form."""
    if candidate.origin is None:
        return
    by_authorisation = isinstance(candidate.signature, Erc3009Signatures)
    for index, item in enumerate(candidate.order.inputs):
        token = candidate.origin.token(item.token)
        field = f"order.inputs[{index}].token"
        if token is None:
            yield _unsupported_token(field, candidate.origin, item.token, "is not served on this chain")
        elif by_authorisation and token.erc3009 is None:
            yield _unsupported_token(
                field, candidate.origin, item.token, "takes no ERC-3009 authorisation; sign for Permit2"
            )


def output_tokens_are_served(candidate: Candidate, network: NetworkConfig, _: Policy) -> Iterator[Finding]:
    """UNSUPPORTED_TOKEN."""
    for field, output in _outputs(candidate):
        chain = network.find(output.chain_id)
        if chain is None or not is_clean(output.token):
            continue
        token = clean_address(output.token)
        if chain.token(token) is None:
            yield _unsupported_token(f"{field}.token", chain, token, "is not served on this chain")


def addresses_are_clean(candidate: Candidate, _: NetworkConfig, __: Policy) -> Iterator[Finding]:
    """INVALID_FIELD for a word that is no address: dropping its upper bits would name an account twice."""
    for field, output in _outputs(candidate):
        for name, word in (("token", output.token), ("recipient", output.recipient)):
            if not is_clean(word):
                yield Finding(
                    f"{field}.{name}",
                    ErrorReason.ERROR_REASON_INVALID_FIELD,
                    "The upper 12 bytes of an address must be zero.",
                )


def settlers_are_ours(candidate: Candidate, network: NetworkConfig, _: Policy) -> Iterator[Finding]:
    """UNSUPPORTED_SETTLER."""
    for field, output in _outputs(candidate):
        chain = network.find(output.chain_id)
        if chain is not None and output.settler != to_bytes32(chain.output_settler):
            expected = format_address(chain.output_settler)
            yield Finding(
                f"{field}.settler",
                ErrorReason.ERROR_REASON_UNSUPPORTED_SETTLER,
                f"On chain {chain.chain_id} outputs are settled by {expected}.",
                {"chain_id": str(chain.chain_id), "expected": expected},
            )


def oracles_fit_the_route(candidate: Candidate, _: NetworkConfig, __: Policy) -> Iterator[Finding]:
    """UNSUPPORTED_ORACLE: the route's configured pair; on one chain the output settler itself will do as well."""
    if candidate.origin is None or candidate.destination is None:
        return
    origin, destination = candidate.origin, candidate.destination
    for field, output in _outputs(candidate):
        if (candidate.order.input_oracle, output.oracle) in _oracle_pairs(origin, destination):
            continue
        input_oracle, output_oracle = _oracle_pairs(origin, destination)[0]
        if candidate.order.input_oracle not in {pair[0] for pair in _oracle_pairs(origin, destination)}:
            yield _unsupported_oracle("order.input_oracle", format_address(input_oracle))
            return
        yield _unsupported_oracle(f"{field}.oracle", format_address(output_oracle))


def amounts_are_not_zero(candidate: Candidate, _: NetworkConfig, __: Policy) -> Iterator[Finding]:
    """ZERO_AMOUNT."""
    fields = [(f"order.inputs[{index}].amount", item.amount) for index, item in enumerate(candidate.order.inputs)]
    fields += [(f"{field}.amount", output.amount) for field, output in _outputs(candidate)]
    for field, amount in fields:
        if amount == 0:
            yield Finding(field, ErrorReason.ERROR_REASON_ZERO_AMOUNT, "The amount must not be zero.")


def contexts_are_served(candidate: Candidate, _: NetworkConfig, __: Policy) -> Iterator[Finding]:
    """INVALID_CONTEXT: unknown kind, wrong length, an overflowing price, or a moving one beyond the first output."""
    for index, (field, output) in enumerate(_outputs(candidate)):
        try:
            context = parse_context(output.context)
            # The price is highest at the beginning of time.
            resolve_amount(output, at=0)
        except InvalidContext as error:
            yield Finding(f"{field}.context", ErrorReason.ERROR_REASON_INVALID_CONTEXT, error.message)
            continue
        if index > 0 and context.moves_with_time:
            yield Finding(
                f"{field}.context",
                ErrorReason.ERROR_REASON_INVALID_CONTEXT,
                "Only the first output's amount may move with time.",
            )


def outputs_are_distinct(candidate: Candidate, _: NetworkConfig, __: Policy) -> Iterator[Finding]:
    """DUPLICATE_OUTPUT: one fill would satisfy both."""
    seen: set[OrderOutput] = set()
    for field, output in _outputs(candidate):
        if output in seen:
            yield Finding(
                field,
                ErrorReason.ERROR_REASON_DUPLICATE_OUTPUT,
                "Another output is the same in every field; a single fill would satisfy both.",
            )
        seen.add(output)


def callbacks_are_allowed(candidate: Candidate, _: NetworkConfig, policy: Policy) -> Iterator[Finding]:
    """CALLBACK_NOT_ALLOWED."""
    if policy.callbacks_allowed:
        return
    for field, output in _outputs(candidate):
        if output.callback_data:
            yield Finding(
                f"{field}.callback_data",
                ErrorReason.ERROR_REASON_CALLBACK_NOT_ALLOWED,
                "Callback data is not served here.",
            )


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


def _outputs(candidate: Candidate) -> list[tuple[str, OrderOutput]]:
    return [(f"order.outputs[{index}]", output) for index, output in enumerate(candidate.order.outputs)]


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
