"""Layer 1: the message is well formed. The rules stand in the protos; numbers beyond uint256 are found in reading."""

from collections.abc import Sequence

from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.convert import InvalidOrder, order_from_proto
from intentmesh.domain.errors import FieldViolation
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
        form = () if _is_plain(request) else self._faults_beside_the_order(request)
        try:
            order = order_from_proto(request.order)
        except InvalidOrder as error:
            return [*map(_finding, error.violations), *form] if request.HasField("order") else list(form)
        origin = find_origin(self._network, order)
        signature, fault = _read_signature(request.signature, len(order.inputs))
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

    def _faults_beside_the_order(self, request: SubmitIntentRequest) -> Sequence[Finding]:
        """The order has a reader of its own, which is as strict as the rules and several times as fast."""
        rest = SubmitIntentRequest()
        rest.CopyFrom(request)
        rest.ClearField("order")
        return [
            _finding(violation)
            for violation in self._validator.violations(rest)
            if violation.field != "order" or not request.HasField("order")
        ]


def _is_plain(request: SubmitIntentRequest) -> bool:
    """The protos' rules for the fields beside the order, and that there is one.

    The general validator takes a tenth of the whole accept, so it is asked only for what is wrong with a request. A
    test holds both together: what passes here passes there.
    """
    return (
        request.HasField("order")
        and 0 < len(request.signature) <= MAX_SIGNATURE_BYTES
        and request.type in _TYPES
        and len(request.request_id) <= MAX_REQUEST_ID_CHARACTERS
        and "\0" not in request.request_id
    )


def _read_signature(raw: bytes, inputs: int) -> tuple[OrderSignature | None, str]:
    try:
        return decode_order_signature(raw, inputs), ""
    except InvalidSignature as error:
        return None, error.message


def _finding(violation: FieldViolation) -> Finding:
    return Finding(violation.field, violation.reason, violation.message)
