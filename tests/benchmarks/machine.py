"""The machine: by what its figures compare with those of others, and whether others slowed it while they were taken."""

import random
import time
from collections.abc import Callable
from statistics import median

from coincurve import PrivateKey, PublicKey

ROUNDS = 5
REPETITIONS = 400
# More than a processor's own caches hold, less than those that it shares.
ENTRIES = 60_000
WALKS = 50


def microseconds(work: Callable[[], object]) -> float:
    """CPU time of one piece of work; the least of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(REPETITIONS):
            work()
        best = min(best, (time.process_time() - began) / REPETITIONS)
    return best * 1e6


def recovery_microseconds() -> float:
    """What libsecp256k1 takes to recover a signer: the same work on every machine, nearly all of it arithmetic."""
    digest = bytes(range(32))
    signature = PrivateKey(digest).sign_recoverable(digest, hasher=None)
    return microseconds(lambda: PublicKey.from_signature_and_message(signature, digest, hasher=None))


class Memory:
    """What it takes to walk through some megabytes, now and at the best of times."""

    def __init__(self) -> None:
        self._entries = {number.to_bytes(32, "big"): str(number) for number in range(ENTRIES)}
        self._keys = random.Random(0).sample(list(self._entries), ENTRIES // 2)
        self._least = float("inf")

    def slowdown(self) -> float:
        """The median of some walks over the shortest one ever.

        About 1 on a machine of one's own; well above it while others use the caches and the memory that they share.
        """
        times = []
        for _ in range(WALKS):
            began = time.perf_counter()
            for key in self._keys:
                self._entries[key]
            times.append(time.perf_counter() - began)
        self._least = min(self._least, *times)
        return round(median(times) / self._least, 2)
