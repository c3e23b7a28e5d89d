"""The networks that can be deployed to: which chains, whose attesters, whose key pays.

    [networks.testnet]
    version = "1"
    salt = "intentmesh"
    needs_confirmation = false
    deployer_key = "env:TESTNET_DEPLOYER_KEY"
    attesters = ["0x…", "0x…"]
    threshold = 2

    [[networks.testnet.chains]]
    chain_id = 84532
    name = "base-sepolia"
    rpc_urls = ["env:BASE_SEPOLIA_RPC"]
    test_tokens = [{ symbol = "USDC", name = "USD Coin", decimals = 6 }]
    explorers = [{ kind = "sourcify" }, { kind = "etherscan", api_key = "env:ETHERSCAN_API_KEY" }]

A chain with `local = true` and no URLs is an Anvil that the command runs itself, with the state it had last time.
Secrets stand nowhere in the file: keys, of accounts and of explorers, and RPC URLs with anything behind the host, are
references to the environment (`env:NAME`) or, for keys, to a file (`file:PATH`).
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from intentmesh.chain.config import ConfiguredAddress, KeyReference, TokenConfig
from intentmesh.contract_pipeline.development_accounts import DEVELOPMENT_ACCOUNTS
from intentmesh.contract_pipeline.errors import InvalidNetworksError
from intentmesh.domain.types import ChainId, format_address

KeyText = Annotated[str, StringConstraints(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$")]
# No user, password or query: whatever is secret is a reference.
_HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$")]
# A provider's key is a part of the path as often as not.
_OPEN_URL = re.compile(r"https?://[^/?#@\s]+/?")
_ENVIRONMENT = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")


def _without_secrets(url: str) -> str:
    if _OPEN_URL.fullmatch(url) is None and _ENVIRONMENT.fullmatch(url) is None:
        raise ValueError("a URL with more than scheme and host may hold a secret, and records repeat it: give env:NAME")
    return url


_RpcUrl = Annotated[str, AfterValidator(_without_secrets)]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TestToken(_Model):
    """A worthless token that is deployed along, for networks where nobody else's can be used."""

    symbol: str
    name: str
    decimals: Annotated[int, Field(ge=0, le=77)]


class SourcifyTarget(_Model):
    """A Sourcify server, asked by its API of version 2."""

    kind: Literal["sourcify"]
    url: _HttpUrl = "https://sourcify.dev/server"


class EtherscanTarget(_Model):
    """Etherscan's API of version 2, or a compatible one."""

    kind: Literal["etherscan"]
    url: _HttpUrl = "https://api.etherscan.io/v2/api"
    api_key: KeyText


ExplorerTarget = Annotated[SourcifyTarget | EtherscanTarget, Field(discriminator="kind")]


class ChainTarget(_Model):
    """One chain of a network. What the mesh needs besides is as in the network file."""

    chain_id: Annotated[ChainId, Field(gt=0)]
    name: _Name
    local: bool = False
    rpc_urls: tuple[_RpcUrl, ...] = ()
    confirmations: Annotated[int, Field(ge=1)] = 1
    max_reorg_depth: Annotated[int, Field(ge=0)] = 0
    block_time_seconds: Annotated[float, Field(gt=0)] = 12.0
    test_tokens: tuple[TestToken, ...] = ()
    tokens: Mapping[str, TokenConfig] = Field(default_factory=dict)
    # Where its verified sources are to be shown.
    explorers: tuple[ExplorerTarget, ...] = ()

    @model_validator(mode="after")
    def _has_an_endpoint(self) -> Self:
        if self.local == bool(self.rpc_urls):
            raise ValueError(f"chain {self.name}: give rpc_urls, or local = true, and not both")
        return self


class NetworkTarget(_Model):
    """One network. The same version, salt, code and arguments give the same addresses on all of its chains."""

    version: _Name
    salt: Annotated[str, StringConstraints(min_length=1)]
    # A person has to type the network's name.
    needs_confirmation: bool = True
    # A network whose deployment of the same code must have stood its tests first.
    after: str | None = None
    # Not needed where all chains are local: those know the development keys.
    deployer_key: KeyText | None = None
    attesters: Annotated[tuple[ConfiguredAddress, ...], Field(min_length=1)]
    threshold: Annotated[int, Field(ge=1)]
    chains: Annotated[tuple[ChainTarget, ...], Field(min_length=1)]
    # Passed on to the mesh that runs on the deployment.
    keys: tuple[KeyReference, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len({chain.chain_id for chain in self.chains}) != len(self.chains):
            raise ValueError("two chains have one chain_id")
        if len(set(self.attesters)) != len(self.attesters):
            raise ValueError("an attester stands twice in the set")
        if self.deployer_key is None and not self.all_local:
            raise ValueError("deployer_key is missing")
        if self.threshold > len(self.attesters):
            raise ValueError(f"threshold {self.threshold} of only {len(self.attesters)} attesters")
        self._refuse_what_is_worthless()
        return self

    def _refuse_what_is_worthless(self) -> None:
        """What is good enough for a test and would let anybody help himself where tokens are worth something."""
        public = [account for account in self.attesters if account in DEVELOPMENT_ACCOUNTS]
        if public and not self.all_local:
            shown = format_address(public[0])
            raise ValueError(f"attester {shown} is a development account: everybody has its key")
        tokens = [token.symbol for chain in self.chains for token in chain.test_tokens]
        if tokens and self.needs_confirmation:
            raise ValueError(f"anyone can mint {tokens[0]}: no test_tokens where needs_confirmation is true")

    @property
    def all_local(self) -> bool:
        return all(chain.local for chain in self.chains)


class _File(_Model):
    networks: Annotated[Mapping[_Name, NetworkTarget], Field(min_length=1)]


def load_networks(path: Path) -> Mapping[str, NetworkTarget]:
    """All networks of the file by name. Raises InvalidNetworksError with one line that names the place."""
    try:
        networks = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).networks
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidNetworksError(f"{path}: {error}") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise InvalidNetworksError(f"{path}: {place}: {fault['msg']}") from error
    for name, network in networks.items():
        if network.after is not None and network.after not in networks:
            raise InvalidNetworksError(f"{path}: {name} comes after {network.after!r}, which is not in the file")
    return networks


def read_url(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The URL, or the one that an `env:` reference means. Raises InvalidNetworksError."""
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if not environment.get(name):
        raise InvalidNetworksError(f"the environment variable {name} should hold an RPC URL and is not set")
    if re.fullmatch(r"https?://[^/?#\s]+\S*", environment[name]) is None:
        raise InvalidNetworksError(f"the environment variable {name} should hold an RPC URL and holds something else")
    return environment[name]


def read_secret(reference: str, environment: Mapping[str, str] = os.environ) -> str:
    """The text behind `env:NAME` or `file:PATH`. Raises InvalidNetworksError, which names the reference only."""
    kind, _, place = reference.partition(":")
    try:
        text = environment.get(place, "") if kind == "env" else Path(place).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text.strip():
        raise InvalidNetworksError(f"{reference} should hold a key and does not")
    return text.strip()
