"""Layer 1: the message is well formed. The rules stand in the protos; numbers beyond uint256 are found in reading."""

from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.convert import InvalidOrder, order_from_proto, read_order
from intentmesh.domain.errors import FieldViolation
from intentmesh.domain.order import Order
from intentmesh.domain.signatures import InvalidSignature, decode_order_signature
from intentmesh.intake.candidate import Candidate, OrderSignature, find_destination, find_origin, intent_id_of
from intentmesh.intake.findings import Finding
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest
from intentmesh.v1.intent_pb2 import IntentType

MAX_SIGNATURE_BYTES = 4096
MAX_REQUEST_ID_CHARACTERS = 64
_TYPES = frozenset(IntentType.values()) - {IntentType.INTENT_TYPE_UNSPECIFIED}


class StructureCheck:
    """Turns requests into candidates."""

    def __init__(self, validator: RequestValidator, network: NetworkConfig) -> None:
        self._validator = validator
        self._network = network

    def read(self, request: SubmitIntentRequest) -> Candidate | list[Finding]:
        """The candidate, or everything that is wrong with the request's form."""
        try:
            order = read_order(request.order) if _is_plain(request) else self._read_with_rules(request)
        except ValueError:
            order = self._read_with_rules(request)
        if isinstance(order, list):
            return order
        origin = find_origin(self._network, order)
        signature, fault = _read_signature(request.signature)
        return Candidate(
            order=order,
            declared_type=request.type,
            raw_signature=request.signature,
            signature=signature,
            signature_fault=fault,
            origin=origin,
            destination=find_destination(self._network, order),
            intent_id=intent_id_of(order, origin),
        )

    def _read_with_rules(self, request: SubmitIntentRequest) -> Order | list[Finding]:
        violations = self._validator.violations(request)
        if violations:
            return [_finding(violation) for violation in violations]
        try:
            return order_from_proto(request.order)
        except InvalidOrder as error:
            return [_finding(violation) for violation in error.violations]


def _is_plain(request: SubmitIntentRequest) -> bool:
    """The protos' rules for the fields beside the order, which `read_order` is as strict about as they are.

    The general validator takes a tenth of the whole accept, so it is asked only for what is wrong with a request. A
    test holds both together: what passes here passes there.
    """
    return (
        0 < len(request.signature) <= MAX_SIGNATURE_BYTES
        and request.type in _TYPES
        and len(request.request_id) <= MAX_REQUEST_ID_CHARACTERS
        and "\0" not in request.request_id
    )


def _read_signature(raw: bytes) -> tuple[OrderSignature | None, str]:
    try:
        return decode_order_signature(raw), ""
    except InvalidSignature as error:
        return None, error.message


def _finding(violation: FieldViolation) -> Finding:
    return Finding(violation.field, violation.reason, violation.message)
