"""A campaign: inputs are made, sent and judged, many at a time, while the servers are watched."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from intentmesh.chain.config import load_network
from intentmesh.domain.types import format_address

from tests.fuzz.corpus import Corpus
from tests.fuzz.doors import Doors
from tests.fuzz.inputs import FuzzInput
from tests.fuzz.making import InputMaker
from tests.fuzz.oracle import Violation, judge
from tests.fuzz.report import Report
from tests.fuzz.sending import Sender
from tests.fuzz.signing import USER, Signer
from tests.fuzz.strangers import Strangers
from tests.fuzz.surface import Door
from tests.fuzz.watching import Watcher, memory_faults

CONCURRENCY = 48
STRANGERS = 2
"""Solvers of the fuzzer's own that register, are asked for quotes, and answer anything."""
RECENT = 400
"""Inputs that are kept when a server dies or is left with calls: the cause is among them."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much, how long, from which seed. `now` (Unix seconds) is part of what is signed."""

    inputs: int
    seconds: float
    seed: int
    now: int
    check_every: int = 5_000


async def run_campaign(
    data_dir: Path, processes: dict[Door, psutil.Process], plan: Plan, folder: Path, progress: Progress = lambda _: None
) -> Report:
    """Attack the mesh in this folder. What is found stands in the report and in `folder`."""
    report = Report(folder, plan.seed, plan.now)
    network = load_network(data_dir / "network.toml")
    invented = [Signer(network, plan.now, plan.seed).solver_address(number) for number in range(STRANGERS)]
    async with Doors(data_dir) as doors, Strangers(network, invented, plan.seed, plan.now) as strangers:
        corpus = Corpus(network, doors.solver_address, plan.seed, plan.now, strangers.endpoints)
        await corpus.learn(doors)
        maker = InputMaker(corpus, plan.seed, format_address(USER.address), doors.solver_address)
        attack = _Attack(doors, Watcher(doors, processes), report)
        started = time.monotonic()
        await attack.run(_numbers(maker, plan, started), plan.check_every, progress)
    report.seconds = time.monotonic() - started
    return report


async def replay(
    data_dir: Path, processes: dict[Door, psutil.Process], inputs: Iterable[FuzzInput], folder: Path
) -> Report:
    """Send these inputs one after the other."""
    report = Report(folder, seed=0, now=0)
    started = time.monotonic()
    async with Doors(data_dir) as doors:
        attack = _Attack(doors, Watcher(doors, processes), report)
        await attack.run(iter(inputs), RECENT, lambda _: None, concurrency=1)
    report.seconds = time.monotonic() - started
    return report


class _Attack:
    def __init__(self, doors: Doors, watcher: Watcher, report: Report) -> None:
        self._sender = Sender(doors)
        self._watcher = watcher
        self._report = report
        self._recent: deque[FuzzInput] = deque(maxlen=RECENT)

    async def run(
        self, inputs: Iterator[FuzzInput], check_every: int, progress: Progress, concurrency: int = CONCURRENCY
    ) -> None:
        """In rounds: between two of them nothing is in flight, and the servers are looked at."""
        await self._watcher.sample({}, 0)
        while True:
            before = self._report.inputs
            bounded = _first(inputs, check_every)
            await asyncio.gather(*(self._work(bounded) for _ in range(concurrency)))
            if self._report.inputs == before:
                break
            alive = await self._look_at_servers()
            sample = await self._watcher.sample(self._report.received, self._report.inputs)
            memory = sum(map(sample.held_bytes, sample.rss_bytes)) / 2**20
            progress(
                f"{self._report.inputs} inputs, {len(self._report.findings)} findings, servers hold {memory:.0f} MiB"
            )
            if not alive:
                break
        self._report.samples = list(self._watcher.samples)
        for fault in memory_faults(self._watcher.samples):
            self._found("memory", fault)

    async def _work(self, inputs: Iterator[FuzzInput]) -> None:
        for one in inputs:
            self._recent.append(one)
            outcome = await self._sender.send(one)
            self._report.add(one, outcome)
            for violation in judge(one, outcome):
                self._report.found(violation, [one])

    async def _look_at_servers(self) -> bool:
        faults = await self._watcher.faults()
        for fault in faults:
            self._found("server", fault)
        if not faults:
            for left in await self._watcher.calls_left():
                self._found("calls-left", left)
            for bug in await self._watcher.bugs_counted():
                self._found("bug-counted", bug)
        return not any("died" in fault for fault in faults)

    def _found(self, rule: str, detail: str) -> None:
        key = f"{rule} {detail.rpartition(':')[0] or detail.split(' ')[0]}"
        self._report.found(Violation(rule, detail, key), list(self._recent))


def _numbers(maker: InputMaker, plan: Plan, started: float) -> Iterator[FuzzInput]:
    for number in range(plan.inputs):
        if time.monotonic() - started > plan.seconds:
            return
        yield maker.make(number)


def _first(inputs: Iterator[FuzzInput], count: int) -> Iterator[FuzzInput]:
    for _ in range(count):
        one = next(inputs, None)
        if one is None:
            return
        yield one
