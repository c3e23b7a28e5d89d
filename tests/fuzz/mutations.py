"""Changes to a message by its descriptor, and to its bytes by the rules of the wire format."""

from collections.abc import Callable
from random import Random
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.fuzz import values

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: values.SIGNED_32,
    FieldDescriptor.CPPTYPE_INT64: values.SIGNED_64,
    FieldDescriptor.CPPTYPE_UINT32: values.UNSIGNED_32,
    FieldDescriptor.CPPTYPE_UINT64: values.UNSIGNED_64,
}
# A list of nothing: next to no bytes, and much to look at for who looks at every element.
_HOLLOW = (1_000, 20_000, 100_000)
_REPEATS = (0, 1, 2, 3, 15, 16, 17, 100, 101, 255, 256, 257)
# Of one list in one message; more would only be the transport's limit again.
_MAX_LIST_BYTES = 400_000


def mutate(random: Random, message: Message) -> str:
    """Change one thing somewhere in the message, in place. Returns what, for people."""
    holder, path = _descend(random, message)
    fields = holder.DESCRIPTOR.fields
    if not fields:
        return "nothing to change"
    field = random.choice(fields)
    return f"{path}{field.name}: {_change(random, holder, field)}"


def _descend(random: Random, message: Message) -> tuple[Message, str]:
    """This message or one inside of it; the deeper ones as often as the shallow ones."""
    found: list[tuple[Message, str]] = []

    def walk(at: Message, path: str) -> None:
        found.append((at, path))
        for field, value in at.ListFields():
            if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE or _is_map(field):
                continue
            children = list(value) if field.is_repeated else [value]
            for child in children[:8]:
                walk(child, f"{path}{field.name}.")

    walk(message, "")
    return random.choice(found)


def _change(random: Random, holder: Message, field: FieldDescriptor) -> str:
    if random.random() < 0.08:
        holder.ClearField(field.name)
        return "cleared"
    if _is_map(field):
        return "left (a map)"
    if field.is_repeated:
        return _change_list(random, holder, field)
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        inner = getattr(holder, field.name)
        inner.SetInParent()
        if random.random() < 0.4:
            fill(random, inner)
            return "filled at random"
        return f"({mutate(random, inner)})"
    setattr(holder, field.name, scalar(random, field, getattr(holder, field.name)))
    return "changed"


def _change_list(random: Random, holder: Message, field: FieldDescriptor) -> str:
    items = getattr(holder, field.name)
    kind = field.cpp_type
    if random.random() < 0.04:
        count = random.choice(_HOLLOW)
        if kind in (FieldDescriptor.CPPTYPE_MESSAGE, FieldDescriptor.CPPTYPE_STRING):
            holder.MergeFromString((tag(field.number, 2) + varint(0)) * count)
        else:
            items.extend([_default(field)] * count)
        return f"{count} empty ones added"
    match random.randrange(4):
        case 0 if items:
            del items[random.randrange(len(items))]
            return "one left out"
        case 1 if items:
            one = items[random.randrange(len(items))]
            size = one.ByteSize() if kind == FieldDescriptor.CPPTYPE_MESSAGE else len(str(one))
            count = min(random.choice(_REPEATS), _MAX_LIST_BYTES // max(size, 1))
            if kind == FieldDescriptor.CPPTYPE_MESSAGE:
                # As bytes: the element may be destroyed by the list's growth.
                items.extend([type(one).FromString(one.SerializeToString()) for _ in range(count)])
            else:
                items.extend([one] * count)
            return f"{count} repetitions"
        case 2 if items:
            at = random.randrange(len(items))
            if kind == FieldDescriptor.CPPTYPE_MESSAGE:
                return f"[{at}].{mutate(random, items[at])}"
            items[at] = scalar(random, field, items[at])
            return "an element changed"
        case _:
            if kind == FieldDescriptor.CPPTYPE_MESSAGE:
                fill(random, items.add())
            else:
                items.append(scalar(random, field, _default(field)))
            return "an element added"


def fill(random: Random, message: Message, depth: int = 3) -> None:
    """Set about half of the fields to values that programs trip over."""
    for field in message.DESCRIPTOR.fields:
        if random.random() < 0.5 or _is_map(field):
            continue
        if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
            value = scalar(random, field, _default(field))
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif depth:
            inner = getattr(message, field.name)
            fill(random, inner.add() if field.is_repeated else inner, depth - 1)


def scalar(random: Random, field: FieldDescriptor, current: Any) -> Any:
    """Another value for a scalar field."""
    kind = field.cpp_type
    if kind in _INTEGERS:
        if random.random() < 0.3:
            shifted = int(current) + random.choice((-1, 1, -1000, 1000, 86_400, -86_400))
            low, high = min(_INTEGERS[kind]), max(_INTEGERS[kind])
            return max(low, min(high, shifted))
        return random.choice(_INTEGERS[kind])
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return (
            values.blob(random, current) if field.type == FieldDescriptor.TYPE_BYTES else values.text(random, current)
        )
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return random.choice(values.ENUMS)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return not current
    return random.choice(values.DOUBLES)


def _default(field: FieldDescriptor) -> Any:
    message = message_factory.GetMessageClass(field.containing_type)()
    if not field.is_repeated:
        return getattr(message, field.name)
    empty = {FieldDescriptor.CPPTYPE_STRING: b"" if field.type == FieldDescriptor.TYPE_BYTES else ""}
    return empty.get(field.cpp_type, 0)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


# --- the wire -------------------------------------------------------------------------------------------------------


def damage(random: Random, data: bytes, other: bytes) -> tuple[bytes, str]:
    """The bytes changed without regard to what they mean. `other` is another message, to splice with."""
    change = random.choice(_DAMAGES)
    return change(random, data, other), (change.__doc__ or "").rstrip(".")


def _flipped(random: Random, data: bytes, _: bytes) -> bytes:
    """Bytes flipped."""
    for _turn in range(random.choice((1, 1, 1, 2, 8))):
        data = values.flip(random, data)
    return data


def _truncated(random: Random, data: bytes, _: bytes) -> bytes:
    """Truncated."""
    return data[: random.randrange(len(data) + 1)]


def _duplicated(random: Random, data: bytes, _: bytes) -> bytes:
    """The whole message repeated, so that its fields are merged."""
    return data * random.choice((2, 2, 3, 17))


def _spliced(random: Random, data: bytes, other: bytes) -> bytes:
    """Joined with part of another message."""
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _with_unknown(random: Random, data: bytes, _: bytes) -> bytes:
    """Unknown fields."""
    for _turn in range(random.choice((1, 3, 300))):
        number = random.choice((15, 16, 99, 1000, 18_999, 19_000, 2**29 - 1))
        match random.randrange(4):
            case 0:
                data += tag(number, 0) + varint(random.getrandbits(64))
            case 1:
                data += tag(number, 1) + random.randbytes(8)
            case 2:
                size = random.randrange(64)
                data += tag(number, 2) + varint(size) + random.randbytes(size)
            case _:
                data += tag(number, 5) + random.randbytes(4)
    return data


def _nested(random: Random, data: bytes, _: bytes) -> bytes:
    """Deeply nested groups or messages."""
    depth = random.choice((50, 99, 100, 101, 1_000, 20_000))
    if random.random() < 0.5:
        return data + tag(100, 3) * depth + tag(100, 4) * random.choice((depth, depth - 1, 0))
    # The same field number at every level: where the message has such a field it is a real nesting.
    inner, number = b"", random.choice((1, 2, 8, 100))
    for _level in range(min(depth, 1_000)):
        inner = tag(number, 2) + varint(len(inner)) + inner
    return data + inner


def _bad_text(random: Random, data: bytes, _: bytes) -> bytes:
    """A text field that is not UTF-8."""
    bad = random.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x82", b"\xfe" * 300))
    return data + tag(random.randrange(1, 12), 2) + varint(len(bad)) + bad


def _wrong_type(random: Random, data: bytes, _: bytes) -> bytes:
    """A field with another wire type than its own."""
    number = random.randrange(1, 24)
    match random.randrange(4):
        case 0:
            return data + tag(number, 0) + varint(random.getrandbits(64))
        case 1:
            return data + tag(number, 1) + random.randbytes(8)
        case 2:
            return data + tag(number, 5) + random.randbytes(4)
        case _:
            return data + tag(number, random.choice((3, 4, 6, 7)))


def _bad_length(random: Random, data: bytes, _: bytes) -> bytes:
    """A length that lies, or a varint that does not end."""
    if random.random() < 0.5:
        return data + tag(random.randrange(1, 12), 2) + varint(random.choice((1, 127, 2**31 - 1, 2**31, 2**32, 2**63)))
    return data + tag(random.randrange(1, 12), 0) + b"\xff" * random.choice((9, 10, 11, 64))


def _noise(random: Random, _: bytes, __: bytes) -> bytes:
    """Random bytes."""
    return random.randbytes(random.choice((0, 1, 2, 5, 16, 64, 512, 10_000)))


_DAMAGES: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    _flipped, _flipped, _flipped, _truncated, _duplicated, _spliced, _with_unknown, _nested, _bad_text, _bad_text,
    _wrong_type, _bad_length, _noise,
)  # fmt: skip


def tag(number: int, wire_type: int) -> bytes:
    """The key of a field on the wire."""
    return varint(number << 3 | wire_type)


def varint(value: int) -> bytes:
    """Base 128, least significant group first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
