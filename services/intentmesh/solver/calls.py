"""A transaction before it is sent."""

from dataclasses import dataclass

from intentmesh.domain.types import Address


@dataclass(frozen=True, slots=True)
class Call:
    """What to send. `value` in wei; `deadline` in Unix seconds: not included by then, it must never be."""

    to: Address
    data: bytes
    value: int = 0
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a step, from 1, with the call it was begun with."""

    number: int
    call: Call
