"""Changes after which a message still looks right: another message's value in the place of its own, a number a bit off.

What changes anything anywhere mostly breaks a rule of the protos and is refused at the door. These go further in: a
token of another chain, the oracle of another route, another order's deadline or nonce, an amount one too high.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_DECIMALS = ("0", "1", "2", str(2**128), str(2**255), str(2**256 - 1))
_STEPS = (-1, 1, -60, 60, -3_600, 3_600, -86_400, 86_400)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A scalar that is set somewhere in a message."""

    path: str
    # Values of one kind may stand for each other: 0x and 40 digits, a decimal number, an enum of this type, …
    kind: str
    value: Any
    put: Callable[[Any], None]
    cpp_type: int


def cross(random: Random, message: Message, other: Message) -> str:
    """Change one value in place: for one of its kind in `other` or in itself, or for one near it. Returns what."""
    own = list(_leaves(message))
    if not own:
        return "nothing to change"
    leaf = random.choice(own)
    strangers = [one.value for one in (*own, *_leaves(other)) if one.kind == leaf.kind and one.value != leaf.value]
    if strangers and random.random() < 0.6:
        leaf.put(random.choice(strangers))
        return f"{leaf.path}: another's"
    near = _near(random, leaf)
    if near is None:
        return f"{leaf.path}: left"
    leaf.put(near)
    return f"{leaf.path}: near"


def _leaves(message: Message, path: str = "") -> Iterator[_Leaf]:
    for field, value in message.ListFields():
        name = path + field.name
        if field.message_type is not None:
            children = list(value) if field.is_repeated else [value]
            if not field.message_type.GetOptions().map_entry:
                for child in children[:8]:
                    yield from _leaves(child, f"{name}.")
        elif field.is_repeated:
            for at, one in enumerate(value[:8]):
                yield _Leaf(f"{name}[{at}]", _kind(field, one), one, _put_item(value, at), field.cpp_type)
        else:
            yield _Leaf(name, _kind(field, value), value, _put_field(message, field.name), field.cpp_type)


def _put_field(message: Message, name: str) -> Callable[[Any], None]:
    return lambda value: setattr(message, name, value)


def _put_item(items: Any, at: int) -> Callable[[Any], None]:
    return lambda value: items.__setitem__(at, value)


def _kind(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type is not None:
        return str(field.enum_type.full_name)
    if isinstance(value, str):
        return f"hex {len(value)}" if value.startswith("0x") else "decimal" if _is_number(value) else "text"
    if isinstance(value, bytes):
        return f"bytes {field.name}"
    # A chain id in the place of a time tells nothing new.
    return f"{field.cpp_type} {'chain' if 'chain' in field.name else 'number'}"


def _near(random: Random, leaf: _Leaf) -> Any:
    value = leaf.value
    if leaf.cpp_type in _INTEGERS:
        low, high = _INTEGERS[leaf.cpp_type]
        return max(low, min(high, int(value) + random.choice(_STEPS)))
    if isinstance(value, str) and _is_number(value):
        if random.random() < 0.3:
            return random.choice(_DECIMALS)
        return str(max(0, int(value) + random.choice(_STEPS)))
    if isinstance(value, str) and value.startswith("0x") and len(value) > 2:
        at = random.randrange(2, len(value))
        return value[:at] + random.choice("0123456789abcdef") + value[at + 1 :]
    if isinstance(value, bytes) and value:
        at = random.randrange(len(value))
        return value[:at] + bytes((value[at] ^ 1 << random.randrange(8),)) + value[at + 1 :]
    if isinstance(value, bool):
        return not value
    return None


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= len(_DECIMALS[-1])
