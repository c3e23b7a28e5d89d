"""The protos' own rules, checked on every request before a handler sees it; all violations are reported at once.

Each broken rule costs some 30 µs, and protovalidate looks at every element of a list that is too long already: a
request of a megabyte, most of it empty elements, would keep a server busy for minutes. So a list is looked at up to one
element more than it may have.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Protocol, TypeVar

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from intentmesh.domain.errors import FieldViolation, InvalidArgument, ResourceExhausted
from intentmesh.v1.error_pb2 import ErrorReason

_TOO_LARGE_RULES = ("max_len", "max_bytes", "max_items", "max_pairs")
_SENTENCE = "the request breaks rules of its fields; see the field violations"


class FieldPath(Protocol):
    """What this module uses of protovalidate's path."""

    elements: Any


Sent = TypeVar("Sent", bound=Message)


class RequestValidator:
    """Checks messages against the rules in their descriptors. Safe to share; compiles each message type once."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def violations(self, message: Message) -> tuple[FieldViolation, ...]:
        """All broken rules, each with MISSING_FIELD (absent), TOO_LARGE or INVALID_FIELD.

        Of a list that is too long those of its first elements, one more than it may have.
        """
        return tuple(_translate(v) for v in self._validator.collect_violations(_shortened(message)))

    def check(self, message: Message) -> None:
        """Raise InvalidArgument with all violations, if there are any."""
        violations = self.violations(message)
        if violations:
            raise InvalidArgument(_SENTENCE, reason=violations[0].reason, violations=violations)


def malformed() -> InvalidArgument:
    """The bytes of a request are not the message they should be. The parser's text may quote them, so it stays here."""
    return InvalidArgument("the request is not a message of the expected type")


def too_large(limit: int) -> ResourceExhausted:
    """A message of more bytes than the server takes. Coming again with the same one is of no use."""
    return ResourceExhausted(
        f"The message is larger than {limit} bytes.",
        reason=ErrorReason.ERROR_REASON_TOO_LARGE,
        metadata={"limit": str(limit)},
    )


def _shortened(message: Sent) -> Sent:
    """The message, or a copy in which each list that is too long has one element too many."""
    if not _is_too_long(message):
        return message
    short = type(message)()
    short.CopyFrom(message)
    _cut(short)
    return short


def _is_too_long(message: Message) -> bool:
    return any(len(getattr(message, name)) > most for name, most in _lists(message.DESCRIPTOR)) or any(
        map(_is_too_long, _messages_in(message))
    )


def _cut(message: Message) -> None:
    for name, most in _lists(message.DESCRIPTOR):
        del getattr(message, name)[most + 1 :]
    for part in _messages_in(message):
        _cut(part)


def _messages_in(message: Message) -> Iterator[Message]:
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            yield from value
        else:
            yield value


@cache
def _lists(descriptor: Descriptor) -> tuple[tuple[str, int], ...]:
    """The repeated fields whose elements are counted, each with the most that it may have."""
    return tuple((field.name, _most(field)) for field in descriptor.fields if _most(field))


def _most(field: FieldDescriptor) -> int:
    return int(field.GetOptions().Extensions[validate_pb2.field].repeated.max_items)


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
