"""Compiled contracts as forge writes them: `<File>.sol/<Name>.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError

from intentmesh.chain.codec import Abi, canonical_type
from intentmesh.contract_pipeline.errors import NotBuiltError

IMMUTABLE_BYTES = 32
# The compiler ends the code with a CBOR map about the sources, and two bytes that tell the map's length.
_METADATA_LENGTH_BYTES = 2
# How a syntax tree calls a variable that is one.
_IMMUTABLE = b'"immutable"'


@dataclass(frozen=True, slots=True)
class RuntimeTemplate:
    """Runtime code whose immutables are zero, and where each of them goes."""

    code: bytes
    # By name of the immutable: offsets of the words that hold it.
    immutables: Mapping[str, tuple[int, ...]]

    @property
    def metadata_start(self) -> int:
        """Offset of the metadata; the code's length when it has none."""
        return metadata_start(self.code)

    def filled(self, values: Mapping[str, bytes]) -> bytes:
        """The code as it stands on a chain. Raises KeyError when a value is missing."""
        code = bytearray(self.code)
        for name, offsets in self.immutables.items():
            word = values[name].rjust(IMMUTABLE_BYTES, b"\0")
            for offset in offsets:
                code[offset : offset + IMMUTABLE_BYTES] = word
        return bytes(code)


class Artifacts:
    """A folder of compiled contracts. Every method raises NotBuiltError when one is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, dict[str, Any]] = {}
        self._names: dict[int, str] | None = None

    def creation_code(self, name: str, arguments: Sequence[object] = ()) -> bytes:
        """Code that, run once, makes the contract: with no arguments, what the compiler wrote."""
        code = bytes.fromhex(self._artifact(name)["bytecode"]["object"][2:])
        return code + self.encode_arguments(name, arguments) if arguments else code

    def encode_arguments(self, name: str, arguments: Sequence[object]) -> bytes:
        """ABI encoding for the constructor. Raises ValueError when they do not fit."""
        try:
            return encode(self.constructor_types(name), list(arguments))
        except EncodingError as error:
            raise ValueError(f"{name} cannot be made with {arguments!r}: {error}") from error

    def decode_arguments(self, name: str, encoded: bytes) -> tuple[Any, ...]:
        """Constructor arguments out of creation code. Raises ValueError when they are none."""
        try:
            return decode(self.constructor_types(name), encoded)
        except (DecodingError, OverflowError, UnicodeDecodeError) as error:
            raise ValueError(f"not arguments of {name}") from error

    def constructor_types(self, name: str) -> list[str]:
        return [canonical_type(part) for part in self._constructor(name)]

    def constructor_names(self, name: str) -> list[str]:
        return [part["name"].strip("_") for part in self._constructor(name)]

    def runtime_template(self, name: str) -> RuntimeTemplate:
        deployed = self._artifact(name)["deployedBytecode"]
        names = self._immutable_names() if deployed.get("immutableReferences") else {}
        immutables = {}
        for identifier, places in (deployed.get("immutableReferences") or {}).items():
            immutables[names.get(int(identifier), f"#{identifier}")] = tuple(place["start"] for place in places)
        return RuntimeTemplate(bytes.fromhex(deployed["object"][2:]), immutables)

    def abi(self, name: str) -> Abi:
        return Abi(self._artifact(name)["abi"])

    def metadata(self, name: str) -> str:
        """The compiler's own JSON, byte for byte: its hash stands at the end of the code."""
        return str(self._artifact(name)["rawMetadata"])

    def compiler_version(self, name: str) -> str:
        return str(json.loads(self.metadata(name))["compiler"]["version"])

    def _constructor(self, name: str) -> list[dict[str, Any]]:
        found = next((entry for entry in self._artifact(name)["abi"] if entry["type"] == "constructor"), None)
        return list(found["inputs"]) if found else []

    def _immutable_names(self) -> dict[int, str]:
        """Names of all immutables of all sources, by their number in the syntax trees."""
        if self._names is None:
            self._names = {}
            for file in self._folder.glob("*/*.json"):
                # Most files say nothing of any, and reading their trees would take ten times as long as all the rest.
                if _IMMUTABLE in file.read_bytes():
                    self._names.update(_immutables(_load(file).get("ast") or {}))
        return self._names

    def _artifact(self, name: str) -> dict[str, Any]:
        if name not in self._read:
            self._read[name] = _load(self._folder / f"{name}.sol" / f"{name}.json")
        return self._read[name]


def metadata_start(code: bytes) -> int:
    """Where the compiler's metadata begins; the length of the code when it has none."""
    if len(code) < _METADATA_LENGTH_BYTES:
        return len(code)
    length = int.from_bytes(code[-_METADATA_LENGTH_BYTES:], "big")
    start = len(code) - _METADATA_LENGTH_BYTES - length
    # 0xa1 to 0xa4: a CBOR map of one to four entries.
    return start if start >= 0 and 0xA1 <= code[start] <= 0xA4 else len(code)


def _immutables(tree: Mapping[str, Any]) -> dict[int, str]:
    found = {}
    for contract in tree.get("nodes", ()):
        for node in contract.get("nodes", ()) if contract.get("nodeType") == "ContractDefinition" else ():
            if node.get("nodeType") == "VariableDeclaration" and node.get("mutability") == "immutable":
                found[int(node["id"])] = str(node["name"])
    return found


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise NotBuiltError(f"{file} cannot be read: run `make contracts`") from error
    if not isinstance(content, dict):
        raise NotBuiltError(f"{file} is no artifact: run `make contracts`")
    return content
