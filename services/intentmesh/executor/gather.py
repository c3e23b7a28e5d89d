"""Collects the evidence of one order from the chains. Raises `ChainUnavailable` rather than guess.

All of one `Evidence` is read against the heads taken at its beginning, so that it is one view of each chain.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from intentmesh.chain.client import ChainClient, ChainClients
from intentmesh.chain.config import ChainConfig
from intentmesh.chain.errors import ChainUnavailable
from intentmesh.chain.input_settler import InputSettler
from intentmesh.chain.oracle import AttestedOracle, Statement
from intentmesh.chain.output_settler import FillEvidence, OutputSettler
from intentmesh.chain.permit2 import Permit2
from intentmesh.chain.records import Evidence as LogEvidence
from intentmesh.chain.tokens import Token
from intentmesh.domain.order import Order, fill_data_hash, output_hash
from intentmesh.domain.types import Address, Bytes32, ChainId, IntentId, clean_address
from intentmesh.executor.discoveries import ON_CHAIN, Known
from intentmesh.executor.evidence import Depth, Evidence, Fill, Horizon, OrderStatus, Sighting, depth_of
from intentmesh.executor.whereabouts import Whereabouts
from intentmesh.v1.intent_pb2 import TransactionKind

_HEAD_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Subject:
    """What evidence is gathered about. `known`: where earlier looks saw something of it."""

    intent_id: IntentId
    order: Order
    input_settler: Address
    signature_kind: int | None
    known: Known = field(default_factory=dict)

    @property
    def chains(self) -> frozenset[ChainId]:
        """Every chain the order touches."""
        return frozenset({self.order.origin_chain_id, *(output.chain_id for output in self.order.outputs)})

    def seen_at(self, chain_id: ChainId, kind: TransactionKind.ValueType) -> tuple[int, ...]:
        """Blocks to look in first: this kind's, then any other's, since one transaction may do several things."""
        seen = [t for t in self.known.values() if t.chain_id == chain_id and t.status in ON_CHAIN]
        return tuple(dict.fromkeys(t.block_number for t in sorted(seen, key=lambda t: t.kind != kind)))


class Gatherer:
    """Reads chains. One per process: heads are shared by all intents for a moment. `monotonic` gives seconds."""

    def __init__(self, clients: ChainClients, monotonic: Callable[[], float]) -> None:
        self._clients = clients
        self._whereabouts = Whereabouts(monotonic)
        self._horizons = {chain_id: _HorizonCache(client, monotonic) for chain_id, client in clients.all.items()}

    async def gather(self, subject: Subject, *, fresh: bool = False) -> Evidence:
        """The evidence now. Raises ChainUnavailable when any part of it could not be read.

        `fresh`: nothing may be older than this call, since something is decided that others act on.
        """
        order = subject.order
        chains = sorted(subject.chains)
        horizons = dict(
            zip(chains, await asyncio.gather(*(self._horizon(chain, fresh=fresh) for chain in chains)), strict=True)
        )
        origin = horizons[order.origin_chain_id]
        status, fills = await asyncio.gather(self._order_status(subject, origin), self._fills(subject, horizons))
        if status is OrderStatus.NONE:
            used, used_finally = await self._nonce(subject, origin)
            return Evidence(horizons, status, fills=fills, nonce_used=used, nonce_used_finally=used_finally)
        opened, finalised, refunded, proven = await self._settlement(subject, origin, status, fills)
        return Evidence(horizons, status, opened, fills, finalised, refunded, proven)

    async def user_can_pay(self, subject: Subject) -> bool:
        """Whether the user holds every input now. Raises ChainUnavailable."""
        order = subject.order
        client = self._clients.of(order.origin_chain_id)
        balances = await asyncio.gather(*(Token(client, item.token).balance_of(order.user) for item in order.inputs))
        return all(balance >= item.amount for balance, item in zip(balances, order.inputs, strict=True))

    # --- origin ---

    async def _order_status(self, subject: Subject, horizon: Horizon) -> OrderStatus:
        settler = self._input_settler(subject)
        return OrderStatus(int(await settler.order_status(subject.intent_id, horizon.head_number)))

    async def _settlement(
        self, subject: Subject, horizon: Horizon, status: OrderStatus, fills: tuple[Fill, ...]
    ) -> tuple[Sighting | None, Sighting | None, Sighting | None, tuple[Sighting, ...]]:
        settler = self._input_settler(subject)
        chain_id = subject.order.origin_chain_id
        opened = await self._event(subject, horizon, TransactionKind.TRANSACTION_KIND_OPEN, settler.find_open)
        finalised = refunded = None
        if status is OrderStatus.CLAIMED:
            kind = TransactionKind.TRANSACTION_KIND_FINALISE
            finalised = await self._event(subject, horizon, kind, settler.find_finalised)
        elif status is OrderStatus.REFUNDED:
            kind = TransactionKind.TRANSACTION_KIND_REFUND
            refunded = await self._event(subject, horizon, kind, settler.find_refunded)
        proven = await self._proofs(subject, horizon, opened, finalised, fills) if finalised is not None else ()
        return (
            self._sighting(chain_id, horizon, opened),
            self._sighting(chain_id, horizon, finalised),
            self._sighting(chain_id, horizon, refunded),
            proven,
        )

    async def _event(
        self,
        subject: Subject,
        horizon: Horizon,
        kind: TransactionKind.ValueType,
        find: Callable[[IntentId, int, int], Awaitable[LogEvidence | None]],
    ) -> LogEvidence:
        """The one event of a kind on the origin, which the order's status says is there."""
        chain_id = subject.order.origin_chain_id

        async def ask(names: Collection[str], first: int, last: int) -> Mapping[str, LogEvidence]:
            event = await find(subject.intent_id, first, last)
            return {} if event is None else dict.fromkeys(names, event)

        name = TransactionKind.Name(kind)
        matter = (chain_id, subject.intent_id, name)
        seen_at = subject.seen_at(chain_id, kind)
        return (await self._whereabouts.locate(matter, [name], seen_at, horizon.head_number, ask))[name]

    async def _proofs(
        self,
        subject: Subject,
        horizon: Horizon,
        opened: LogEvidence,
        finalised: LogEvidence,
        fills: tuple[Fill, ...],
    ) -> tuple[Sighting, ...]:
        """Transactions that brought the proof of a fill to the origin; once settled, since nothing hangs on them.

        Not every oracle tells of them. So they are looked for with the settlement that they made possible, once, and
        later only where they were seen.
        """
        order, chain_id = subject.order, subject.order.origin_chain_id
        oracle = AttestedOracle(self._clients.of(chain_id), order.input_oracle)
        wanted = {_statement(subject, fill) for fill in fills}
        found: dict[Statement, LogEvidence] = {}
        seen_at = subject.seen_at(chain_id, TransactionKind.TRANSACTION_KIND_PROVE)
        spans = [(block, block) for block in seen_at if block <= horizon.head_number]
        if finalised.block_number not in seen_at:
            spans.append((opened.block_number, finalised.block_number))
        for first, last in spans:
            if missing := wanted - found.keys():
                found |= await oracle.find_proven(missing, first, last)
        sightings = [self._sighting(chain_id, horizon, proof) for proof in found.values()]
        return tuple({s.transaction_hash: s for s in sightings if s is not None}.values())

    async def _nonce(self, subject: Subject, horizon: Horizon) -> tuple[bool, bool]:
        """Whether nonce or authorisation is used at the head, and at a final block."""
        if not await self._nonce_used_at(subject, horizon.head_number):
            return False, False
        final_number = horizon.head_number - self._config(subject.order.origin_chain_id).final_depth + 1
        return True, final_number >= 0 and await self._nonce_used_at(subject, final_number)

    async def _nonce_used_at(self, subject: Subject, block: int) -> bool:
        order = subject.order
        client = self._clients.of(order.origin_chain_id)
        match subject.signature_kind:
            case 0x00:  # Permit2
                return await Permit2(client).nonce_used(order.user, order.nonce, block)
            case 0x01:  # ERC-3009
                states = await asyncio.gather(
                    *(
                        Token(client, item.token).authorization_used(order.user, Bytes32(subject.intent_id), block)
                        for item in order.inputs
                    )
                )
                return any(states)
            case _:
                return False

    # --- destinations ---

    async def _fills(self, subject: Subject, horizons: Mapping[ChainId, Horizon]) -> tuple[Fill, ...]:
        by_settler: dict[tuple[ChainId, Bytes32], list[int]] = {}
        for index, output in enumerate(subject.order.outputs):
            by_settler.setdefault((output.chain_id, output.settler), []).append(index)
        groups = await asyncio.gather(
            *(
                self._fills_at(subject, chain_id, clean_address(settler), indices, horizons[chain_id])
                for (chain_id, settler), indices in by_settler.items()
            )
        )
        return tuple(sorted((fill for group in groups for fill in group), key=lambda fill: fill.output_index))

    async def _fills_at(
        self, subject: Subject, chain_id: ChainId, settler: Address, indices: list[int], horizon: Horizon
    ) -> list[Fill]:
        client = self._clients.of(chain_id)
        binding = OutputSettler(client, settler)
        wanted = {output_hash(subject.order.outputs[index]): index for index in indices}
        records = await asyncio.gather(
            *(binding.fill_record(subject.intent_id, digest, horizon.head_number) for digest in wanted)
        )
        recorded = {digest: record for digest, record in zip(wanted, records, strict=True) if record is not None}
        if not recorded:
            return []

        async def ask(digests: Collection[Bytes32], first: int, last: int) -> Mapping[Bytes32, FillEvidence]:
            wanted = {digest: recorded[digest] for digest in digests}
            return await binding.find_recorded(subject.intent_id, wanted, first, last)

        matter = (chain_id, subject.intent_id, "fills at 0x" + settler.hex())
        seen_at = subject.seen_at(chain_id, TransactionKind.TRANSACTION_KIND_FILL)
        found = await self._whereabouts.locate(matter, recorded, seen_at, horizon.head_number, ask)
        fills = [self._fill(chain_id, wanted[digest], fill, horizon) for digest, fill in found.items()]
        return [fill for fill in fills if fill.sighting.depth > Depth.ABSENT]

    def _fill(self, chain_id: ChainId, index: int, found: FillEvidence, horizon: Horizon) -> Fill:
        return Fill(
            output_index=index,
            solver=found.solver,
            time=found.timestamp,
            final_amount=found.final_amount,
            sighting=Sighting(
                chain_id, found.transaction_hash, found.block_number, self._depth(chain_id, found.block_number, horizon)
            ),
        )

    # --- shared ---

    def _sighting(self, chain_id: ChainId, horizon: Horizon, found: LogEvidence | None) -> Sighting | None:
        if found is None:
            return None
        depth = self._depth(chain_id, found.block_number, horizon)
        if depth is Depth.ABSENT:
            return None
        return Sighting(chain_id, found.transaction_hash, found.block_number, depth)

    def _depth(self, chain_id: ChainId, block_number: int, horizon: Horizon) -> Depth:
        config = self._config(chain_id)
        return depth_of(block_number, horizon.head_number, config.confirmations, config.max_reorg_depth)

    async def _horizon(self, chain_id: ChainId, *, fresh: bool = False) -> Horizon:
        if chain_id not in self._horizons:
            raise ChainUnavailable(chain_id, "the chain is no longer configured")
        return await self._horizons[chain_id].now(fresh=fresh)

    def _config(self, chain_id: ChainId) -> ChainConfig:
        return self._clients.of(chain_id).config

    def _input_settler(self, subject: Subject) -> InputSettler:
        return InputSettler(self._clients.of(subject.order.origin_chain_id), subject.input_settler)


class _HorizonCache:
    """Head and final block of one chain, shared for a moment, never older than one seen before."""

    def __init__(self, client: ChainClient, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._horizon: Horizon | None = None
        self._read_at = 0.0
        self._final: tuple[int, int] = (-1, 0)

    async def now(self, *, fresh: bool) -> Horizon:
        """Raises ChainUnavailable, also when the endpoint lags behind what was seen before.

        A lagging endpoint knows fewer logs than we told of; taking its view would look like a reorganisation.
        """
        async with self._lock:
            if not fresh and self._horizon is not None and self._monotonic() - self._read_at < _HEAD_SECONDS:
                return self._horizon
            head = await self._client.head()
            if self._horizon is not None and head.number < self._horizon.head_number:
                raise ChainUnavailable(self._client.chain_id, "the endpoint lags behind what was seen before")
            final_number = head.number - self._client.config.final_depth + 1
            final_time = await self._final_time(final_number) if final_number >= 0 else 0
            self._horizon = Horizon(head.number, head.timestamp, final_time)
            self._read_at = self._monotonic()
            return self._horizon

    async def _final_time(self, number: int) -> int:
        if self._final[0] != number:
            block = await self._client.block(number)
            if block is None:
                raise ChainUnavailable(self._client.chain_id, "a block below the head is missing")
            self._final = (number, block.timestamp)
        return self._final[1]


def _statement(subject: Subject, fill: Fill) -> Statement:
    output = subject.order.outputs[fill.output_index]
    data_hash = fill_data_hash(subject.intent_id, output, fill.solver, fill.time)
    return Statement(output.chain_id, output.oracle, output.settler, data_hash)
