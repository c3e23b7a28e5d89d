"""`make bench BENCH=intake`: what one process on one core accepts in a second, durably and with all checks on."""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median

import uvloop

from tests.benchmarks.intake.filling import fill
from tests.benchmarks.intake.layers import costs
from tests.benchmarks.intake.load import Load
from tests.benchmarks.intake.orders import NONCES_PER_WORD, Orders, make_users
from tests.benchmarks.intake.timing import Prepared, Timed, cache_reads, timed
from tests.benchmarks.intake.world import CALLER, Server, World, started
from tests.benchmarks.machine import Memory, recovery_microseconds
from tests.benchmarks.results import Results

USERS = 1000
# Nonces of a word that go into warming, at most: one on each channel.
WARMING = 8
WARMING_ATTEMPTS = 5
# Of each figure, which is their median: a machine shared with others is slow for seconds at a time.
LOADS = 3
UNARY_IN_FLIGHT = 64
STREAMS, STREAM_WINDOW = 8, 512
SINGLE_STREAMS, SINGLE_WINDOW = 32, 32
# Calls that come while streams bring as much as they can.
CALLS_BESIDE_PER_S, CALLS_BESIDE = 50.0, 200
HEADLINE = {"stream64", "stream1", "unary", "beside"}
# A server and its load.
Side = tuple[Server, Load]
PARTS = ("layers", "stream64", "stream1", "unary", "beside", "workers", "filled")


class Benchmark:
    """One run of all parts; `scale` shortens the loads."""

    def __init__(self, world: World, orders: Orders, results: Results, scale: float) -> None:
        self._world = world
        self._orders = orders
        self._results = results
        self._scale = scale
        self._recovery_us = recovery_microseconds()
        self._memory = Memory()

    async def headline(self, parts: Collection[str]) -> None:
        """One process: streams of full messages, streams of single items, calls, latency."""
        async with self._side("bench_headline") as (server, load):
            if "stream64" in parts:
                await self._measured(server, load, "intake_stream64_per_s", partial(self._stream64, load, 64_000))
            if "stream1" in parts:
                await self._measured(server, load, "intake_stream1_per_s", partial(self._stream1, load, 40_000))
            if "unary" in parts:
                rate = await self._measured(server, load, "intake_unary_per_s", partial(self._unary, load, 20_000))
                await self._latency(load, 0.8 * rate)
            if "beside" in parts:
                await self._beside_streams(server, load)

    async def workers(self) -> None:
        """The server's CPU time per accept with two workers over that with one, under the same load on the same core.

        By messages of 64, the way of who brings many orders, and by calls. Those wake a worker for each order, and two
        workers that share a core take turns in its caches at every wake.
        """
        async with AsyncExitStack() as stack:
            sides = [
                await stack.enter_async_context(self._side(f"bench_workers{workers}", workers=workers, channels=8))
                for workers in (1, 2)
            ]
            for name, path, prepare in (
                ("intake_workers2_cpu_ratio", "stream64", lambda load: self._stream64(load, 64_000)),
                ("intake_workers2_unary_cpu_ratio", "unary", lambda load: self._unary(load, 10_000, 2)),
            ):
                rounds = await self._in_turn(sides, prepare)
                each = [two.cpu_per_accept / one.cpu_per_accept for one, two in rounds]
                one_us, two_us = (_us(median(one.cpu_per_accept for one in side)) for side in zip(*rounds, strict=True))
                self._results.add(
                    name, median(each), "ratio", each=_rounded(each), path=path, one_us=one_us, two_us=two_us
                )

    async def filled(self, count: int) -> None:
        """The rate with many intents in the store over the rate with none.

        The first loads follow a checkpoint, after which the first write to a page puts the whole of it into the log:
        with ids that are hashes, that is a page of an index for nearly every intent.
        """
        databases = {"bench_empty": 0, "bench_filled": count}
        for database, intents in databases.items():
            await fill(await self._world.postgres.create_database(database), intents)
        async with AsyncExitStack() as stack:
            sides = [await stack.enter_async_context(self._side(database)) for database in databases]
            await self._world.postgres.checkpoint()
            rounds = await self._in_turn(sides, lambda load: self._stream64(load, 64_000))
        each = [filled.run.per_second / empty.run.per_second for empty, filled in rounds]
        empty, filled = zip(*rounds, strict=True)
        self._results.add(
            "intake_5m_ratio",
            median(each),
            "ratio",
            each=_rounded(each),
            intents=count,
            empty_per_s=round(median(one.run.per_second for one in empty)),
            filled_per_s=round(median(one.run.per_second for one in filled)),
            empty_cpu_us=_us(median(one.cpu_per_accept for one in empty)),
            filled_cpu_us=_us(median(one.cpu_per_accept for one in filled)),
        )

    async def layers(self) -> None:
        """Microseconds of each layer."""
        (raw,) = self._orders.unary(1)
        for name, value in (await costs(self._world.network, raw)).items():
            self._results.add("intake_layer_us", value, "us", layer=name)

    @asynccontextmanager
    async def _side(self, database: str, *, workers: int = 1, channels: int = 4) -> AsyncIterator[Side]:
        """A server whose memory is warm, and what loads it."""
        async with (
            self._world.intake(database, workers=workers) as server,
            Load(server.target, CALLER, channels) as load,
        ):
            await self._warm(load)
            yield server, load

    async def _warm(self, load: Load) -> None:
        """One order of each user with the next word of nonces: balances, allowances, nonces and code are known then."""
        for _ in range(WARMING_ATTEMPTS):
            self._orders.next_word()
            if not await load.everywhere([self._orders.messages(USERS, 20) for _ in range(load.channels)]):
                return
        # On a busy machine the chain is too slow for so many questions at once, until most are answered from memory.
        raise RuntimeError("the intake does not get warm: it goes on refusing orders")

    async def _in_turn(self, sides: Sequence[Side], prepare: Callable[[Load], Prepared]) -> list[list[Timed]]:
        """Several servers under the same kind of load, one after the other, in some rounds; by round and side.

        What slows the machine for seconds slows them alike, so that their ratios hold where their rates do not. Every
        second round goes backwards: nobody is always the one who comes after the other.
        """
        rounds = []
        for number in range(LOADS):
            taken = {}
            for server, load in sides if number % 2 == 0 else reversed(sides):
                taken[server.target] = await timed(server, prepare(load)[0])
                await self._warm(load)
            rounds.append([taken[server.target] for server, _ in sides])
        return rounds

    def _unary(self, load: Load, count: int, workers: int = 1) -> Prepared:
        requests, in_flight = self._orders.unary(self._count(count)), UNARY_IN_FLIGHT * workers
        return lambda: load.unary(requests, in_flight), {"in_flight": in_flight}

    def _stream64(self, load: Load, count: int) -> Prepared:
        messages = self._orders.messages(self._count(count), 64)
        params = {"streams": STREAMS, "window": STREAM_WINDOW, "items_a_message": 64}
        return lambda: load.streams(messages, 64, STREAMS, STREAM_WINDOW), params

    def _stream1(self, load: Load, count: int) -> Prepared:
        messages = self._orders.messages(self._count(count), 1)
        params = {"streams": SINGLE_STREAMS, "window": SINGLE_WINDOW, "items_a_message": 1}
        return lambda: load.streams(messages, 1, SINGLE_STREAMS, SINGLE_WINDOW), params

    async def _measured(
        self,
        server: Server,
        load: Load,
        name: str,
        prepare: Callable[[], Prepared],
    ) -> float:
        """Adds the figures of a kind of load, and returns its orders a second."""
        runs, reads, slowdowns = [], [], []
        params: dict[str, object] = {}
        for _ in range(LOADS):
            work, params = prepare()
            slowdowns.append(self._memory.slowdown())
            before = cache_reads(server)
            runs.append(await timed(server, work))
            reads.append([now - then for now, then in zip(cache_reads(server), before, strict=True)])
            await self._warm(load)
        hits, misses = map(sum, zip(*reads, strict=True))
        per_second = median(one.run.per_second for one in runs)
        per_accept = median(one.cpu_per_accept for one in runs)
        self._results.add(
            name,
            per_second,
            "1/s",
            each=[round(one.run.per_second) for one in runs],
            items=runs[0].run.created,
            **params,
            cache_hits=round(hits / (hits + misses), 4),
            cpu_us=_us(per_accept),
            cpu_share=round(median(one.cpu_share for one in runs), 3),
            # How many signatures could be recovered meanwhile: that compares between machines.
            recoveries=round(per_accept * 1e6 / self._recovery_us, 2),
            memory_slowdowns=slowdowns,
        )
        # What one whole core would accept: the machine may have other work.
        self._results.add(f"{name.removesuffix('_per_s')}_per_core_s", 1 / per_accept, "1/s")
        return per_second

    async def _latency(self, load: Load, per_second: float) -> None:
        runs, slowdowns = [], []
        for _ in range(LOADS):
            requests = self._orders.unary(self._count(int(10 * per_second)))
            slowdowns.append(self._memory.slowdown())
            # What the loads before have left to be written is not this one's.
            await self._world.postgres.checkpoint()
            runs.append(await load.unary_at(requests, per_second))
            await self._warm(load)
        for share, name in ((0.5, "intake_unary_p50_ms_at_80pct"), (0.99, "intake_unary_p99_ms_at_80pct")):
            each = [run.percentile(share) * 1000 for run in runs]
            self._results.add(
                name,
                median(each),
                "ms",
                each=_rounded(each),
                per_second=round(per_second),
                calls=runs[0].asked,
                memory_slowdowns=slowdowns,
            )

    async def _beside_streams(self, server: Server, load: Load) -> None:
        """What a call waits for while a service's streams keep the server busy."""
        requests = self._orders.unary(int(CALLS_BESIDE * self._scale))
        async with Load(server.target, CALLER, channels=1) as calls:
            streams = asyncio.create_task(self._stream64(load, 64_000)[0]())
            run = await calls.unary_at(requests, CALLS_BESIDE_PER_S)
            is_beside = not streams.done()
            beside = await streams
        if not is_beside:
            raise RuntimeError("the streams were done before the calls")
        if run.created < run.asked:
            raise RuntimeError(f"{run.asked - run.created} of {run.asked} orders were not created")
        for share, name in ((0.5, "intake_unary_p50_ms_beside_streams"), (0.99, "intake_unary_p99_ms_beside_streams")):
            self._results.add(
                name,
                run.percentile(share) * 1000,
                "ms",
                per_second=CALLS_BESIDE_PER_S,
                calls=len(requests),
                stream64_per_s=round(beside.per_second),
            )

    def _count(self, count: int) -> int:
        """Per user at most a word of nonces, so that a load stays as warm as it began."""
        return min(int(count * self._scale), USERS * (NONCES_PER_WORD - WARMING)) // 64 * 64


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 2) for value in values]


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 1)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the loads")
    parser.add_argument("--intents", type=int, default=5_000_000, help="in the store that has been in use for long")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    users = make_users(USERS)
    results = Results("intake")
    with tempfile.TemporaryDirectory(prefix="intentmesh-bench-") as folder:
        async with started(Path(folder), [user.address for user in users]) as world:
            benchmark = Benchmark(world, Orders(world.network, users), results, options.scale)
            if "layers" in options.only:
                await benchmark.layers()
            if HEADLINE & set(options.only):
                await benchmark.headline(options.only)
            if "workers" in options.only:
                await benchmark.workers()
            if "filled" in options.only:
                await benchmark.filled(options.intents)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
