"""Writes the network file that `config.load_network` reads."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from intentmesh.chain.config import NetworkConfig


def write_network(path: Path, network: NetworkConfig) -> None:
    """Puts the file in place at once, so that nobody reads half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.write_text(format_network(network), encoding="utf-8")
    fresh.replace(path)


def format_network(network: NetworkConfig) -> str:
    """The network as TOML; `load_network` of it gives the same network."""
    content = network.model_dump(mode="json", exclude_none=True)
    lines: list[str] = []
    for chain in content["chains"]:
        tokens = chain.pop("tokens")
        lines += ["[[chains]]", *_pairs(chain), ""]
        for symbol, token in tokens.items():
            lines += [f"[chains.tokens.{_value(symbol)}]", *_pairs(token), ""]
    for key in content["keys"]:
        lines += ["[[keys]]", *_pairs(key), ""]
    return "\n".join(lines)


def _pairs(table: Mapping[str, object]) -> Iterable[str]:
    return (f"{name} = {_value(value)}" for name, value in table.items())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_pairs(value)) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    # JSON's strings, numbers and booleans are TOML's as well, but for this one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
