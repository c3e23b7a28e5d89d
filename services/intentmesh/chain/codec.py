"""ABI encoding and decoding by the files in `abi/`: the parts of each contract's interface that the mesh uses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Bytes32

AbiEntry = Mapping[str, Any]


class MalformedData(ValueError):
    """Bytes that a contract gave are not what its interface says."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function: `encode` makes calldata, `decode` reads what a call returned."""

    name: str
    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def encode(self, *arguments: object) -> bytes:
        return self.selector + encode(self.inputs, arguments)

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """Raises MalformedData, as when there is no such contract."""
        return _decode(self.name, self.outputs, data)


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `decode` reads the arguments that are not indexed."""

    name: str
    topic: Bytes32
    plain: tuple[str, ...]

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """Raises MalformedData."""
        return _decode(self.name, self.plain, data)


@dataclass(frozen=True, slots=True)
class Error:
    """One custom error."""

    name: str
    selector: bytes
    names: tuple[str, ...]
    inputs: tuple[str, ...]

    def decode(self, data: bytes) -> dict[str, Any]:
        """Its arguments by name. Raises MalformedData."""
        return dict(zip(self.names, _decode(self.name, self.inputs, data), strict=True))


class Abi:
    """One contract's interface."""

    def __init__(self, entries: Sequence[AbiEntry]) -> None:
        self.entries = entries
        self.functions = {entry["name"]: _function(entry) for entry in entries if entry["type"] == "function"}
        self.events = {entry["name"]: _event(entry) for entry in entries if entry["type"] == "event"}
        self.errors = {error.selector: error for error in map(_error, entries) if error is not None}

    def function(self, name: str) -> Function:
        return self.functions[name]

    def event(self, name: str) -> Event:
        return self.events[name]


@cache
def load_abi(name: str) -> Abi:
    """The interface in `abi/<name>.json`."""
    file = resources.files("intentmesh.chain") / "abi" / f"{name}.json"
    return Abi(json.loads(file.read_text(encoding="utf-8")))


def canonical_type(parameter: AbiEntry) -> str:
    """The type as it stands in a signature: tuples by their components."""
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(canonical_type(part) for part in parameter["components"])
    return f"({inner}){kind[len('tuple') :]}"


def signature_of(entry: AbiEntry) -> str:
    """name(types), of which the selector or topic is the hash."""
    return f"{entry['name']}({','.join(canonical_type(part) for part in entry['inputs'])})"


def _function(entry: AbiEntry) -> Function:
    return Function(
        entry["name"],
        keccak(signature_of(entry).encode())[:4],
        tuple(canonical_type(part) for part in entry["inputs"]),
        tuple(canonical_type(part) for part in entry["outputs"]),
    )


def _event(entry: AbiEntry) -> Event:
    return Event(
        entry["name"],
        Bytes32(keccak(signature_of(entry).encode())),
        tuple(canonical_type(part) for part in entry["inputs"] if not part.get("indexed")),
    )


def _error(entry: AbiEntry) -> Error | None:
    if entry["type"] != "error":
        return None
    return Error(
        entry["name"],
        keccak(signature_of(entry).encode())[:4],
        tuple(part["name"] or str(place) for place, part in enumerate(entry["inputs"])),
        tuple(canonical_type(part) for part in entry["inputs"]),
    )


def _decode(name: str, types: tuple[str, ...], data: bytes) -> tuple[Any, ...]:
    try:
        return decode(types, data)
    except (DecodingError, OverflowError, UnicodeDecodeError) as error:
        raise MalformedData(f"{name}: {error}") from error
