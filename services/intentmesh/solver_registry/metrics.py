"""Series of the registry alone; those with the product's names stand in rpc/metrics.py. Labels are the budgets."""

from collections.abc import Iterable

from prometheus_client import Counter

REFUSALS = Counter("registry_refusals_total", "Calls refused since a budget was used up", ["budget"])
FORGOTTEN = Counter("registry_forgotten_solvers_total", "Solvers taken out that nobody had approved")


def start_at_zero(budgets: Iterable[str]) -> None:
    """Register the series before the first call: a rate over a series that appears later misses its start."""
    for budget in budgets:
        REFUSALS.labels(budget)
