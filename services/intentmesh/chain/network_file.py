"""Writes the network file that `config.load_network` reads. It holds references to keys, never keys."""

import os
from pathlib import Path

import tomli_w

from intentmesh.chain.config import NetworkConfig


def write_network(path: Path, network: NetworkConfig) -> None:
    """Puts the file in place at once, so that nobody reads half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.write_text(format_network(network), encoding="utf-8")
    fresh.replace(path)


def format_network(network: NetworkConfig) -> str:
    """The network as TOML; `load_network` of it gives the same network."""
    return tomli_w.dumps(network.model_dump(mode="json", exclude_none=True))
