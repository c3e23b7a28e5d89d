"""What a command shows: tables and colours on a terminal, plain lines in a pipe, JSON where asked."""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum

from rich.console import Console
from rich.table import Table

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

PHASE_STYLES = {
    "ACCEPTED": "cyan",
    "AUCTION": "cyan",
    "AWARDED": "blue",
    "OPENED": "blue",
    "FILLED": "yellow",
    "CONFIRMED": "green",
    "SETTLED": "bold green",
    "REFUNDED": "magenta",
    "EXHAUSTED": "red",
    "CANCELLATION_REQUESTED": "magenta",
}
STATUS_STYLES = {
    "PENDING": "cyan",
    "EXECUTING": "blue",
    "COMPLETED": "bold green",
    "FAILED": "bold red",
    "CANCELLED": "magenta",
    "EXPIRED": "red",
}


class Form(StrEnum):
    """How results are written."""

    TERMINAL = "terminal"
    PLAIN = "plain"
    JSON = "json"


class Output:
    """Writes results to standard output and everything else to standard error."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.console = Console(highlight=False)
        self._notes = Console(stderr=True, highlight=False)

    @classmethod
    def choose(cls, as_json: bool) -> "Output":
        """JSON when asked; else a terminal's form where there is one."""
        if as_json:
            return cls(Form.JSON)
        return cls(Form.TERMINAL if sys.stdout.isatty() else Form.PLAIN)

    def record(self, value: Mapping[str, JsonValue], *, line: str, styled: str | None = None) -> None:
        """One result: a JSON object on a line, a plain line, or the line with rich mark-up."""
        if self.form is Form.JSON:
            self._write(json.dumps(value))
        elif self.form is Form.PLAIN or styled is None:
            self._write(line)
        else:
            self.console.print(styled)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on a terminal; in a pipe a heading and tab-separated lines. For JSON use `record`."""
        if self.form is Form.TERMINAL:
            table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
            for column in columns:
                table.add_column(column, overflow="fold")
            for row in rows:
                table.add_row(*(_styled(cell) for cell in row))
            self.console.print(table)
            return
        self._write(f"# {title}")
        self._write("\t".join(columns))
        for row in rows:
            self._write("\t".join(cell.replace("\n", " ") for cell in row))

    def note(self, text: str) -> None:
        """Progress for a person; never in the way of a pipe."""
        self._notes.print(text, style="dim")

    @staticmethod
    def _write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _styled(cell: str) -> str:
    style = STATUS_STYLES.get(cell) or PHASE_STYLES.get(cell)
    escaped = cell.replace("[", r"\[")
    return f"[{style}]{escaped}[/]" if style else escaped


def enum_label(name: str, prefix: str) -> str:
    """ "INTENT_STATUS_PENDING" without its prefix: "PENDING"."""
    return name.removeprefix(prefix + "_")
