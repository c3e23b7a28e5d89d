"""What a solver's past says about it: how likely it settles, and whether it answers at all. Pure."""

from dataclasses import dataclass
from fractions import Fraction

OPENS_AFTER_FAILURES = 5
FIRST_BENCH_SECONDS = 10
LONGEST_BENCH_SECONDS = 600

# A newcomer starts as if it had settled 9 of 10: good enough to win, quick to lose it.
_PRIOR_SETTLED = 9
_PRIOR_WON = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """Judged awards: those that settled as promised, and those that failed by the solver's own doing."""

    won: int = 0
    settled: int = 0

    @property
    def p_settle(self) -> Fraction:
        """Probability that the next award settles as promised: (settled + 9) / (won + 10)."""
        return Fraction(self.settled + _PRIOR_SETTLED, self.won + _PRIOR_WON)

    @property
    def performance_score(self) -> float:
        """0 to 100; 90 for a newcomer."""
        return float(100 * self.p_settle)

    @property
    def success_rate(self) -> float:
        """0 to 1; 1 before the first judged award, since nothing speaks against the solver."""
        return self.settled / self.won if self.won else 1.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """Availability: closed, open until a time (Unix seconds), or half open from then on: one probe is let through."""

    failures: int = 0
    """In a row."""
    trips: int = 0
    """How often it opened since the last answer."""
    open_until: float = 0.0

    def is_open(self, at: float) -> bool:
        """The solver is passed over."""
        return self._tripped and at < self.open_until

    def is_half_open(self, at: float) -> bool:
        """The bench is over, but no answer has proven the solver yet."""
        return self._tripped and at >= self.open_until

    def after_answer(self) -> "Breaker":
        """The solver answered, whatever it said."""
        return Breaker()

    def after_failure(self, at: float) -> "Breaker":
        """It did not answer in time or could not be reached."""
        failures = self.failures + 1
        if failures < OPENS_AFTER_FAILURES:
            return Breaker(failures, self.trips, self.open_until)
        seconds = min(LONGEST_BENCH_SECONDS, FIRST_BENCH_SECONDS * 2 ** min(self.trips, 16))
        return Breaker(failures, self.trips + 1, at + seconds)

    @property
    def _tripped(self) -> bool:
        return self.failures >= OPENS_AFTER_FAILURES
