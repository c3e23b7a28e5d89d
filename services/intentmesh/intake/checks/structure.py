"""Layer 1: the message is well formed. The rules stand in the protos; numbers beyond uint256 are found in reading."""

from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.convert import InvalidOrder, order_from_proto
from intentmesh.domain.errors import FieldViolation
from intentmesh.domain.signatures import InvalidSignature, decode_order_signature
from intentmesh.intake.candidate import Candidate, OrderSignature, find_destination, find_origin, intent_id_of
from intentmesh.intake.findings import Finding
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest


class StructureCheck:
    """Turns requests into candidates."""

    def __init__(self, validator: RequestValidator, network: NetworkConfig) -> None:
        self._validator = validator
        self._network = network

    def read(self, request: SubmitIntentRequest) -> Candidate | list[Finding]:
        """The candidate, or everything that is wrong with the request's form."""
        violations = self._validator.violations(request)
        if violations:
            return [_finding(violation) for violation in violations]
        try:
            order = order_from_proto(request.order)
        except InvalidOrder as error:
            return [_finding(violation) for violation in error.violations]
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


def _read_signature(raw: bytes) -> tuple[OrderSignature | None, str]:
    try:
        return decode_order_signature(raw), ""
    except InvalidSignature as error:
        return None, error.message


def _finding(violation: FieldViolation) -> Finding:
    return Finding(violation.field, violation.reason, violation.message)
