"""Which chains the mesh serves and the contracts it speaks to there. Imports no web3, so every service may read it.

The file is TOML:

    [[chains]]
    chain_id = 31337
    name = "alpha"
    rpc_urls = ["http://127.0.0.1:8545"]
    confirmations = 2
    max_reorg_depth = 2
    block_time_seconds = 1.0
    input_settler = "0x…"
    output_settler = "0x…"
    oracle = "0x…"

    [chains.tokens.USDC]
    address = "0x…"
    decimals = 6
    erc3009 = { name = "USD Coin", version = "2" }

    [[keys]]
    role = "solver"
    key = "env:SOLVER_KEY"

or the record of a deployment (`.json`), which holds the same under `network`.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    model_validator,
)

from intentmesh.domain.digests import PERMIT2
from intentmesh.domain.errors import InvalidArgument
from intentmesh.domain.types import Address, ChainId, format_address, parse_address
from intentmesh.v1.error_pb2 import ErrorReason


class InvalidNetworkError(ValueError):
    """The network file is missing, is not TOML, or says something impossible. The message tells where."""


def _read_address(value: object) -> object:
    return parse_address(value) if isinstance(value, str) else value


# Text in any case in files, 20 bytes inside, EIP-55 when written.
ConfiguredAddress = Annotated[
    Address,
    BeforeValidator(_read_address),
    Field(min_length=20, max_length=20),
    PlainSerializer(format_address, return_type=str),
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without what was cached from the fields as they were."""
        copied = super().model_copy(update=update, deep=deep)
        for name in [name for name in copied.__dict__ if name not in type(self).model_fields]:
            del copied.__dict__[name]
        return copied


class Erc3009Domain(_Model):
    """The EIP-712 name and version under which a token checks its authorisations."""

    name: str
    version: str


class TokenConfig(_Model):
    """A token that is served on a chain."""

    address: ConfiguredAddress
    decimals: Annotated[int, Field(ge=0, le=77)]
    # Absent: the token takes no ERC-3009 authorisations (by `bytes` signature).
    erc3009: Erc3009Domain | None = None


class ChainConfig(_Model):
    """One chain. Depths count blocks; a block at the head is 1 deep."""

    chain_id: Annotated[ChainId, Field(gt=0)]
    name: str
    # Asked in this order; the next one steps in when one fails.
    rpc_urls: Annotated[tuple[str, ...], Field(min_length=1)]
    ws_url: str | None = None
    # So deep is something before the mesh believes it.
    confirmations: Annotated[int, Field(ge=1)] = 1
    # Deeper reorganisations are alarms. What is told for good is deeper than this.
    max_reorg_depth: Annotated[int, Field(ge=0)] = 0
    block_time_seconds: Annotated[float, Field(gt=0)] = 12.0
    input_settler: ConfiguredAddress
    output_settler: ConfiguredAddress
    # Proves fills of other chains here, and is named as their oracle by outputs on this chain.
    oracle: ConfiguredAddress
    permit2: ConfiguredAddress = PERMIT2
    # Whether the output settler takes a second word of filler data: an amount above the least one.
    output_settler_accepts_surplus: bool = False
    tokens: Mapping[str, TokenConfig] = Field(default_factory=dict)
    # Distinct attesters whose signatures `oracle` wants.
    attestation_threshold: Annotated[int, Field(ge=1)] = 1
    rpc_timeout_seconds: Annotated[float, Field(gt=0)] = 5.0
    # Most blocks asked for in one eth_getLogs.
    log_window_blocks: Annotated[int, Field(ge=1)] = 2_000
    # No contract of ours has events below it.
    start_block: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        addresses = [token.address for token in self.tokens.values()]
        if len(set(addresses)) != len(addresses):
            raise ValueError(f"chain {self.name}: two tokens have one address")
        return self

    @cached_property
    def final_depth(self) -> int:
        """The depth in blocks from which on something is told as true for good."""
        return max(self.confirmations, self.max_reorg_depth + 1)

    @cached_property
    def final_seconds(self) -> float:
        """How long a block needs to get that deep."""
        return self.final_depth * self.block_time_seconds

    @cached_property
    def _tokens_by_address(self) -> Mapping[Address, TokenConfig]:
        return {token.address: token for token in self.tokens.values()}

    def token(self, address: Address) -> TokenConfig | None:
        """The served token of this address."""
        return self._tokens_by_address.get(address)

    def symbol(self, address: Address) -> str | None:
        """The name under which the token of this address is configured."""
        return next((symbol for symbol, token in self.tokens.items() if token.address == address), None)


class KeyReference(_Model):
    """Where the private key of a role is. The key itself never stands in the file."""

    role: Literal["user", "solver", "attester", "operator", "executor"]
    key: Annotated[str, StringConstraints(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$")]


@dataclass(frozen=True, slots=True)
class Route:
    """Who proves the fills on one chain to the escrow on another, or the same, chain."""

    origin: ChainConfig
    destination: ChainConfig
    # `inputOracle` of the order.
    input_oracle: Address
    # `oracle` of its outputs.
    output_oracle: Address

    @property
    def same_chain(self) -> bool:
        return self.origin.chain_id == self.destination.chain_id


class NetworkConfig(_Model):
    """All chains that are served and the keys that belong to them."""

    chains: Annotated[tuple[ChainConfig, ...], Field(min_length=1)]
    keys: tuple[KeyReference, ...] = ()

    @model_validator(mode="after")
    def _ids_are_distinct(self) -> Self:
        ids = [chain.chain_id for chain in self.chains]
        if len(set(ids)) != len(ids):
            raise ValueError("two chains have one chain_id")
        return self

    @cached_property
    def _chains_by_id(self) -> Mapping[int, ChainConfig]:
        return {chain.chain_id: chain for chain in self.chains}

    def find(self, chain_id: int) -> ChainConfig | None:
        return self._chains_by_id.get(chain_id)

    def chain(self, chain_id: int) -> ChainConfig:
        """Raises InvalidArgument UNSUPPORTED_CHAIN."""
        found = self.find(chain_id)
        if found is None:
            raise InvalidArgument(
                f"chain {chain_id} is not served",
                reason=ErrorReason.ERROR_REASON_UNSUPPORTED_CHAIN,
                metadata={"chain_id": str(chain_id)},
            )
        return found

    def route(self, origin: int, destination: int) -> Route:
        """Which oracles prove a fill on `destination` to `origin`. On one chain the output settler is its own oracle.

        Raises InvalidArgument UNSUPPORTED_CHAIN.
        """
        here, there = self.chain(origin), self.chain(destination)
        if here.chain_id == there.chain_id:
            return Route(here, there, here.output_settler, here.output_settler)
        return Route(here, there, here.oracle, there.oracle)

    def key_references(self, role: str) -> tuple[str, ...]:
        """Where the keys of a role are, in the order of the file."""
        return tuple(reference.key for reference in self.keys if reference.role == role)


def load_network(path: Path) -> NetworkConfig:
    """Reads the network file. Raises InvalidNetworkError with one line that names the place."""
    try:
        text = path.read_text(encoding="utf-8")
        content = _of_record(text) if path.suffix == ".json" else tomllib.loads(text)
        return NetworkConfig.model_validate(content)
    except OSError as error:
        raise InvalidNetworkError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidNetworkError(f"{path}: is not TOML: {error}") from error
    except (json.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise InvalidNetworkError(f"{path}: is no deployment record that can be used here: {error}") from error
    except ValidationError as error:
        raise InvalidNetworkError(f"{path}: {_first_fault(error)}") from error


def _of_record(text: str) -> object:
    """The network in a deployment record. URLs may be `env:NAME`: a URL can hold a secret, a record must not.

    Raises LookupError with a sentence when such a variable is not set.
    """
    network = json.loads(text)["network"]
    for chain in network["chains"]:
        chain["rpc_urls"] = [_url(url) for url in chain["rpc_urls"]]
    return network


def _url(text: str) -> str:
    name = text.removeprefix("env:")
    if name == text:
        return text
    if not os.environ.get(name):
        raise LookupError(f"the environment variable {name} should hold an RPC URL and is not set")
    return os.environ[name]


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else fault["msg"]
