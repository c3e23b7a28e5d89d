"""Anvil, the local EVM chain: one process per chain.

Its state is in a file, so that a second start continues where it was.
"""

import asyncio
import json
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

import structlog

from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.errors import DamagedStateError
from intentmesh.embedded.ports import LOOPBACK
from intentmesh.embedded.probes import json_rpc
from intentmesh.embedded.process import ProcessSpec
from intentmesh.embedded.programs import anvil_program
from intentmesh.embedded.server import ServerPart
from intentmesh.embedded.supervision import RestartPolicy, SupervisedProcess

_log = structlog.get_logger(__name__)

ChainId = NewType("ChainId", int)

# The mnemonic every Anvil uses unless told otherwise: known to everybody, worth nothing anywhere else.
DEVELOPMENT_MNEMONIC = "test test test test test test test test test test test junk"


@dataclass(frozen=True, slots=True)
class AnvilOptions:
    """How one local chain behaves."""

    chain_id: ChainId
    # None mines each transaction at once.
    block_time_s: float | None = None
    # One slot makes "finalized" two blocks and "safe" one block behind the head, so finality can be waited for.
    slots_in_an_epoch: int = 1
    # The state is also written while it runs: a chain that is killed falls back by at most this much.
    state_interval_s: int = 5
    # Lets contract calls at blocks of an earlier run succeed; some 20 kB of state file for every block.
    keep_historical_states: bool = False
    mnemonic: str = DEVELOPMENT_MNEMONIC
    # Begins with the state of another chain at its head, and leaves that one alone. Not kept between runs.
    # It stands on the command line and in the log: one that holds a secret is `relayed`.
    fork_url: str | None = None


class AnvilChain(ServerPart):
    """One local chain; HTTP and WebSocket share its port.

    Raises DamagedStateError on start when the state of an earlier run cannot be read.
    """

    def __init__(
        self,
        folder: DataFolder,
        name: str,
        options: AnvilOptions,
        *,
        port: int = 0,
        restart: RestartPolicy | None = None,
    ) -> None:
        super().__init__(name, port)
        self._folder = folder
        self._options = options
        self._restart = restart

    @property
    def chain_id(self) -> ChainId:
        return self._options.chain_id

    @property
    def rpc_url(self) -> str:
        """JSON-RPC over HTTP; only after `start`."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def ws_url(self) -> str:
        """JSON-RPC over WebSocket; only after `start`."""
        return f"ws://{LOOPBACK}:{self.port}"

    async def _make_process(self) -> SupervisedProcess:
        state = StateFile(self._folder.part_folder(self.name) / "state.json")

        async def mend() -> None:
            await asyncio.to_thread(state.mend)

        return SupervisedProcess(self._spec(state), self._answers, restart=self._restart, prepare=mend)

    def _spec(self, state: "StateFile") -> ProcessSpec:
        options = self._options
        arguments = [
            *("--host", LOOPBACK, "--port", str(self.port), "--chain-id", str(options.chain_id)),
            *("--mnemonic", options.mnemonic, "--slots-in-an-epoch", str(options.slots_in_an_epoch)),
        ]
        if options.fork_url is None:
            arguments += ["--state", str(state.path), "--state-interval", str(options.state_interval_s)]
        else:
            arguments += ["--fork-url", options.fork_url]
        if options.block_time_s is not None:
            arguments += ["--block-time", f"{options.block_time_s:g}"]
        if options.keep_historical_states:
            arguments += ["--preserve-historical-states"]
        return ProcessSpec(
            name=self.name,
            command=(str(anvil_program()), *arguments),
            log_file=self._folder.log_file(self.name),
            # It writes its state on either; a kill would lose what happened since the last interval.
            stop_signal=signal.SIGTERM,
            parent_death_signal=signal.SIGTERM,
            stop_grace_s=20.0,
        )

    async def _answers(self) -> bool:
        return int(await json_rpc(self.port, "eth_chainId"), 16) == self._options.chain_id


class StateFile:
    """The state of a chain between runs. Anvil overwrites it in place, so a kill in the middle leaves a torn file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._spare = path.with_suffix(".spare.json")

    def mend(self) -> None:
        """Keep a spare of a whole file; put the spare in the place of a torn one.

        Raises DamagedStateError when neither can be read.
        """
        if not self.path.exists():
            return
        if _is_whole(self.path):
            fresh = self._spare.with_suffix(".new")
            shutil.copyfile(self.path, fresh)
            fresh.replace(self._spare)
            return
        if not _is_whole(self._spare):
            raise DamagedStateError(f"{self.path} is torn and has no spare: remove it to start an empty chain")
        _log.warning("chain_state_torn", file=str(self.path), continued_from=str(self._spare))
        shutil.copyfile(self._spare, self.path)


def _is_whole(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except (OSError, ValueError):
        return False
    return True
