"""One chain as a job sees it: the contracts, the way to send, and the pace at which to look."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from intentmesh.chain.client import ChainClient
from intentmesh.chain.config import ChainConfig
from intentmesh.chain.input_settler import InputSettler
from intentmesh.chain.output_settler import OutputSettler
from intentmesh.domain.types import Address, ChainId
from intentmesh.solver.outcomes import Stop
from intentmesh.transactions.sender import TransactionSender
from intentmesh.v1 import error_pb2 as reasons

MIN_POLL_SECONDS = 0.1
MAX_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Side:
    """Everything that is done on one chain goes through here."""

    config: ChainConfig
    client: ChainClient
    sender: TransactionSender
    solver: Address

    @property
    def chain_id(self) -> ChainId:
        return self.config.chain_id

    @property
    def input_settler(self) -> InputSettler:
        return InputSettler(self.client)

    @property
    def output_settler(self) -> OutputSettler:
        return OutputSettler(self.client)

    @property
    def poll_seconds(self) -> float:
        """How long to wait before looking at the chain again."""
        return poll_seconds(self.config)


class Sides:
    """All chains of the network."""

    def __init__(self, sides: Mapping[ChainId, Side]) -> None:
        self._sides = sides

    def __iter__(self) -> Iterator[Side]:
        return iter(self._sides.values())

    def of(self, chain_id: ChainId) -> Side:
        """Raises Stop for a chain that is no longer configured: a stored job may name one."""
        side = self._sides.get(chain_id)
        if side is None:
            raise Stop(reasons.ERROR_REASON_UNSUPPORTED_CHAIN, f"this solver no longer serves chain {chain_id}")
        return side


def poll_seconds(chain: ChainConfig) -> float:
    """Half a block of this chain, within reason."""
    return min(max(chain.block_time_seconds / 2, MIN_POLL_SECONDS), MAX_POLL_SECONDS)
