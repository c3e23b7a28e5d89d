"""The chains of a local mesh: two of Anvil with our contracts on them, or those that a file names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from intentmesh.chain.config import KeyReference, NetworkConfig, load_network
from intentmesh.domain.signatures import address_of
from intentmesh.domain.types import ChainId as DomainChainId
from intentmesh.domain.types import format_address
from intentmesh.embedded.anvil import AnvilChain, AnvilOptions, ChainId
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.deployment import LOCAL_ACCOUNTS, DeploymentTerms, LocalChain, deploy_local_chains
from intentmesh.embedded.endpoints import Account
from intentmesh.embedded.errors import EmbeddedError

LOCAL_CHAINS = {"alpha": ChainId(31337), "beta": ChainId(31338)}
BLOCK_TIME_S = 1.0
# Deep enough that a test can reorganise the local chains, shallow enough that nobody waits for long.
CONFIRMATIONS = 2
MAX_REORG_DEPTH = 2


class UnreadableKeyError(EmbeddedError):
    """A key that the network file refers to cannot be read."""


@dataclass(frozen=True, slots=True)
class RoleKey:
    """A private key of a role, where services find it, and whether `endpoints.json` may tell it."""

    role: str
    reference: str
    private_key: bytes
    public: bool

    def account(self) -> Account:
        """As in `endpoints.json`."""
        shown = "0x" + self.private_key.hex() if self.public else ""
        role = "operator" if self.role == "executor" else self.role
        return Account.model_validate(
            {"role": role, "address": format_address(address_of(self.private_key)), "private_key": shown}
        )


@dataclass(frozen=True, slots=True)
class Network:
    """The chains that are served and the keys of the mesh."""

    config: NetworkConfig
    keys: tuple[RoleKey, ...]

    def of_role(self, role: str) -> tuple[RoleKey, ...]:
        """Keys of one role, in the order of the file."""
        return tuple(key for key in self.keys if key.role == role)


def make_local_chains(folder: DataFolder) -> tuple[AnvilChain, ...]:
    """The two local chains, not started."""
    return tuple(
        AnvilChain(folder, name, AnvilOptions(chain_id, block_time_s=BLOCK_TIME_S))
        for name, chain_id in LOCAL_CHAINS.items()
    )


async def deploy_on(chains: tuple[AnvilChain, ...], folder: DataFolder) -> Network:
    """Deploy what is not there yet on the running local chains. Raises DeploymentError."""
    terms = DeploymentTerms(
        confirmations=CONFIRMATIONS, max_reorg_depth=MAX_REORG_DEPTH, block_time_seconds=BLOCK_TIME_S
    )
    local = [LocalChain(DomainChainId(chain.chain_id), chain.name, chain.rpc_url, chain.ws_url) for chain in chains]
    configs = await deploy_local_chains(local, terms)
    keys = tuple(_store_local_key(folder, index) for index in range(len(LOCAL_ACCOUNTS)))
    references = tuple(KeyReference.model_validate({"role": key.role, "key": key.reference}) for key in keys)
    return Network(NetworkConfig(chains=configs, keys=references), keys)


def read_network(path: Path, environment: Mapping[str, str] = os.environ) -> Network:
    """Chains and keys that somebody else made. Raises InvalidNetworkError, UnreadableKeyError.

    A user's key is passed on in `endpoints.json`, since that is all it is there for; the others are not.
    """
    config = load_network(path)
    keys = []
    for reference in config.keys:
        resolved = reference.key
        if resolved.startswith("file:"):
            resolved = f"file:{(path.parent / resolved.removeprefix('file:')).resolve()}"
        private_key = _read_key(reference.role, resolved, environment)
        keys.append(RoleKey(reference.role, resolved, private_key, public=reference.role == "user"))
    return Network(config.model_copy(update={"keys": _resolved(config.keys, keys)}), tuple(keys))


def _resolved(references: tuple[KeyReference, ...], keys: list[RoleKey]) -> tuple[KeyReference, ...]:
    pairs = zip(references, keys, strict=True)
    return tuple(reference.model_copy(update={"key": key.reference}) for reference, key in pairs)


def _store_local_key(folder: DataFolder, index: int) -> RoleKey:
    """A development key as a file, so that services take local keys the way they take real ones."""
    account = LOCAL_ACCOUNTS[index]
    file = folder.part_folder("keys") / f"{index}-{account.role}.key"
    file.touch(mode=0o600)
    file.write_text("0x" + account.private_key.hex() + "\n", encoding="ascii")
    return RoleKey(account.role, f"file:{file}", account.private_key, public=True)


def _read_key(role: str, reference: str, environment: Mapping[str, str]) -> bytes:
    kind, _, name = reference.partition(":")
    try:
        text = environment[name] if kind == "env" else Path(name).read_text(encoding="ascii")
        key = bytes.fromhex(text.strip().removeprefix("0x"))
    except KeyError:
        raise UnreadableKeyError(
            f"the key of {role} should be in the environment variable {name}, which is not set"
        ) from None
    except OSError as error:
        raise UnreadableKeyError(f"the key of {role} cannot be read from {name}: {error.strerror}") from None
    except ValueError:
        raise UnreadableKeyError(f"the key of {role} in {reference} is not hex") from None
    if len(key) != 32:
        raise UnreadableKeyError(f"the key of {role} in {reference} is not 32 bytes long")
    return key
