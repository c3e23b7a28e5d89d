"""`endpoints.json`: where everything of a local mesh is, for programs and tests that use it from outside."""

import os
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

FILE_NAME = "endpoints.json"
# Beside the keys: the secret by which the services of a local mesh know each other and their operator.
TOKEN_FILE = "internal.token"  # noqa: S105 (a file's name)

Role = Literal["user", "solver", "attester", "operator"]


class EndpointsError(Exception):
    """There is no mesh to talk to, or its file is damaged. The message tells a person what to do."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServiceEndpoints(_Model):
    """gRPC targets, "host:port"."""

    intake: str
    solver_registry: str
    executor: str
    status: str
    solver: str
    attesters: list[str]


class ContractAddresses(_Model):
    """EIP-55 addresses of the contracts of one chain."""

    input_settler: str
    output_settler: str
    oracle: str
    permit2: str


class TokenEndpoint(_Model):
    """One token. `erc3009` names its EIP-712 domain where it takes ERC-3009 authorisations."""

    address: str
    decimals: int
    erc3009: dict[str, str] | None = None


class ChainEndpoint(_Model):
    """One chain: how to reach it and what stands on it."""

    chain_id: int
    name: str
    rpc_url: str
    ws_url: str | None = None
    contracts: ContractAddresses
    tokens: dict[str, TokenEndpoint]


class Account(_Model):
    """A key of the local mesh. `private_key` is empty where the mesh was given a reference it does not pass on."""

    role: Role
    address: str
    private_key: str


class Endpoints(_Model):
    """The whole file."""

    gateway: str
    services: ServiceEndpoints
    metrics: dict[str, str]
    postgres_dsn: str
    valkey_url: str
    chains: list[ChainEndpoint]
    accounts: list[Account]

    def chain(self, name_or_id: str) -> ChainEndpoint:
        """The chain with this name or id. Raises EndpointsError that lists what there is."""
        for chain in self.chains:
            if name_or_id in (chain.name, str(chain.chain_id)):
                return chain
        known = ", ".join(f"{chain.name} ({chain.chain_id})" for chain in self.chains)
        raise EndpointsError(f"there is no chain {name_or_id!r}; this mesh serves {known}")

    def account(self, role: Role, index: int = 0) -> Account:
        """The index-th account of a role. Raises EndpointsError."""
        having = [account for account in self.accounts if account.role == role]
        if index >= len(having):
            raise EndpointsError(f"this mesh has no account of the role {role!r}: name a key with --key")
        return having[index]


def write(endpoints: Endpoints, folder: Path) -> Path:
    """Write the file at once: a reader sees all of it or nothing. Only its owner may read it, for it holds keys."""
    target = folder / FILE_NAME
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".endpoints-")
    with os.fdopen(descriptor, "w") as file:
        file.write(endpoints.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(target)
    return target


def remove(folder: Path) -> None:
    """Take the file away: whoever looks now finds no mesh."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def read(folder: Path) -> Endpoints:
    """Read the file of the mesh that runs in `folder`. Raises EndpointsError."""
    path = folder / FILE_NAME
    try:
        return Endpoints.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise EndpointsError(
            f"no mesh runs in {folder}: start one with `intentmesh up --data-dir {folder}`, or name another folder"
        ) from None
    except ValidationError as error:
        raise EndpointsError(f"{path} is damaged ({error.error_count()} errors): restart the mesh") from error
