"""Layer 1: the message is well formed. The rules stand in the protos; numbers beyond uint256 are found in reading."""

from collections.abc import Sequence

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
        """The candidate, or everything that is wrong with the request's form where that leaves no order to look at."""
        form: Sequence[Finding] = ()
        try:
            order = read_order(request.order) if _is_plain(request) else None
        except ValueError:
            order = None
        if order is None:
            order, form = self._read_with_rules(request)
        if order is None:
            return list(form)
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
            form=form,
        )

    def _read_with_rules(self, request: SubmitIntentRequest) -> tuple[Order | None, Sequence[Finding]]:
        """The order, if it can be read, and every fault of form."""
        found = [_finding(violation) for violation in self._validator.violations(request)]
        if any(finding.field.partition(".")[0] == "order" for finding in found):
            return None, found
        try:
            return order_from_proto(request.order), found
        except InvalidOrder as error:
            return None, [*found, *map(_finding, error.violations)]


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
