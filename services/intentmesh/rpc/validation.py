"""The protos' own rules, checked on every request before a handler sees it; all violations are reported at once."""

from typing import Any, Protocol

import protovalidate
from google.protobuf.message import Message

from intentmesh.domain.errors import FieldViolation, InvalidArgument
from intentmesh.v1.error_pb2 import ErrorReason

_TOO_LARGE_RULES = ("max_len", "max_bytes", "max_items", "max_pairs")
_SENTENCE = "the request breaks rules of its fields; see the field violations"


class FieldPath(Protocol):
    """What this module uses of protovalidate's path."""

    elements: Any


class RequestValidator:
    """Checks messages against the rules in their descriptors. Safe to share; compiles each message type once."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def violations(self, message: Message) -> tuple[FieldViolation, ...]:
        """All broken rules, each with MISSING_FIELD (absent), TOO_LARGE or INVALID_FIELD."""
        return tuple(_translate(v) for v in self._validator.collect_violations(message))

    def check(self, message: Message) -> None:
        """Raise InvalidArgument with all violations, if there are any."""
        violations = self.violations(message)
        if violations:
            raise InvalidArgument(_SENTENCE, reason=violations[0].reason, violations=violations)


def malformed() -> InvalidArgument:
    """The bytes of a request are not the message they should be. The parser's text may quote them, so it stays here."""
    return InvalidArgument("the request is not a message of the expected type")


def _translate(violation: protovalidate.Violation) -> FieldViolation:
    proto = violation.proto
    path = _path(proto.field) if proto.field else ""
    return FieldViolation(path, _reason(str(proto.rule_id), violation.field_value), str(proto.message))


def _reason(rule_id: str, value: Any) -> ErrorReason.ValueType:
    if rule_id.rpartition(".")[2] in _TOO_LARGE_RULES:
        return ErrorReason.ERROR_REASON_TOO_LARGE
    # proto3 cannot tell an absent scalar from its zero value: a rule that forbids zero asks for the field.
    absent = rule_id == "required" or value is None or value in ("", b"", 0) or _is_empty(value)
    return ErrorReason.ERROR_REASON_MISSING_FIELD if absent else ErrorReason.ERROR_REASON_INVALID_FIELD


def _is_empty(value: Any) -> bool:
    return not isinstance(value, Message) and hasattr(value, "__len__") and len(value) == 0


def _path(field: FieldPath) -> str:
    parts: list[str] = []
    for element in field.elements:
        subscript = element.subscript
        parts.append(element.field_name + (f"[{subscript.value}]" if subscript is not None else ""))
    return ".".join(parts)
