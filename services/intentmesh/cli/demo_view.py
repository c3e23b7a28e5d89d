"""The demo while it runs: a live picture of the phases on a terminal, a line an event elsewhere."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from intentmesh.cli.demo_report import Journey
from intentmesh.cli.events import event_line, event_record, phase_of, status_of
from intentmesh.cli.output import PHASE_STYLES, Form, Output
from intentmesh.v1 import event_pb2

PATH = ("ACCEPTED", "AUCTION", "AWARDED", "OPENED", "FILLED", "CONFIRMED", "SETTLED")


class LiveView:
    """Shows each event as it comes."""

    def __init__(self, output: Output, journeys: Sequence[Journey]) -> None:
        self._output = output
        self._journeys = journeys
        live = Live(self._picture(), console=output.console, refresh_per_second=8)
        self._live = live if output.form is Form.TERMINAL else None

    def show(self, journey: Journey, event: event_pb2.IntentEvent) -> None:
        """Draw the journeys anew, or write the event's line."""
        if self._live is not None:
            self._live.update(self._picture())
            return
        kind = journey.title.partition(" ")[0]
        self._output.record({"event": "status", **event_record(event)}, line=f"{kind:<8} {event_line(event)}")

    def _picture(self) -> Table:
        table = Table(header_style="dim")
        for column in ("intent", "status", "way", "now"):
            table.add_column(column)
        for journey in self._journeys:
            last = journey.events[-1] if journey.events else None
            table.add_row(
                journey.title,
                status_of(last) if last else "",
                _way(phase_of(last) if last else ""),
                escape(last.message) if last else "submitted",
            )
        return table

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)


def _way(phase: str) -> str:
    """The phases behind as dots, the present one by name."""
    if phase not in PATH:
        return f"[{PHASE_STYLES.get(phase, 'white')}]{phase}[/]"
    behind = PATH.index(phase)
    dots = "".join(f"[{PHASE_STYLES[name]}]●[/]" for name in PATH[: behind + 1])
    ahead = "[dim]" + "○" * (len(PATH) - behind - 1) + "[/]"
    return f"{dots}{ahead} [{PHASE_STYLES[phase]}]{phase}[/]"
