"""What a load took the server."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.request import urlopen

from tests.benchmarks.intake.load import Run
from tests.benchmarks.intake.world import Server

_CACHE = re.compile(r'^intake_cache_reads_total\{cache="\w+",result="(hit|miss)"\} ([0-9.e+]+)$', re.MULTILINE)

# A load that is ready to run, and what is told of it.
Prepared = tuple[Callable[[], Awaitable[Run]], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Timed:
    """A load, and the CPU seconds that it took the server."""

    run: Run
    cpu: float

    @property
    def cpu_per_accept(self) -> float:
        """Seconds."""
        return self.cpu / self.run.created

    @property
    def cpu_share(self) -> float:
        """The share of a core that the server got."""
        return self.cpu / self.run.seconds


def cache_reads(server: Server) -> tuple[float, float]:
    """How many checks were answered from memory so far, and how many by the chain."""
    found = {"hit": 0.0, "miss": 0.0}
    for url in server.metrics_urls:
        with urlopen(url) as answer:  # noqa: S310 (our own server)
            for result, count in _CACHE.findall(answer.read().decode()):
                found[result] += float(count)
    return found["hit"], found["miss"]


async def timed(server: Server, work: Callable[[], Awaitable[Run]]) -> Timed:
    """Raises RuntimeError where an order was not created."""
    before = server.cpu_seconds()
    run = await work()
    if run.created < run.asked:
        raise RuntimeError(f"{run.asked - run.created} of {run.asked} orders were not created: {dict(run.refusals)}")
    return Timed(run, server.cpu_seconds() - before)
