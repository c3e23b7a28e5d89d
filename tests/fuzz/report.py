"""Counts as a table and as JSON, and findings as files that can be replayed."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.depth import DEPTHS, Depth, depth_of
from tests.fuzz.inputs import FuzzInput
from tests.fuzz.oracle import Violation, is_transport, reason_of
from tests.fuzz.outcomes import TRANSPORT, Outcome
from tests.fuzz.surface import Door, rpc_of
from tests.fuzz.watching import Sample, growth_per_input

MAX_FILES = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """The first input that showed it, and how often it was seen."""

    violation: Violation
    file: str


@dataclass(slots=True)
class Report:
    """Everything a campaign has seen."""

    folder: Path
    seed: int
    now: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    manners: Counter[str] = field(default_factory=Counter)
    # By the server that a call was for; the gateway's are those that are for none of them.
    received: Counter[Door] = field(default_factory=Counter)
    depths: Counter[tuple[Door, Depth]] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        return sum(self.counts.values())

    def add(self, one: FuzzInput, outcome: Outcome) -> None:
        """Count an input."""
        rpc = rpc_of(one.path)
        name = rpc.name if rpc is not None else "(no such method)"
        self.counts[name, TRANSPORT if is_transport(one, outcome) else outcome.status] += 1
        self.manners[one.manner.value] += 1
        server = (rpc.server_behind(one.door) if rpc is not None else one.door) or Door.GATEWAY
        self.received[server] += 1
        self.depths[server, depth_of(one, outcome)] += 1
        reason = reason_of(outcome)
        if reason:
            self.reasons[reason] += 1
        if outcome.seconds > self.slowest[0]:
            self.slowest = (outcome.seconds, f"{name} at {one.door}, input {one.number}, {outcome.status}")

    def found(self, violation: Violation, inputs: Sequence[FuzzInput]) -> None:
        """Keep the first of each kind as a file."""
        self.seen[violation.key] += 1
        if violation.key in self.findings:
            return
        file = self.folder / f"finding-{self.seed}-{len(self.findings) + 1}.json"
        if len(self.findings) < MAX_FILES:
            content = {
                "rule": violation.rule,
                "detail": violation.detail,
                "seed": self.seed,
                "now": self.now,
                "inputs": [one.to_json() for one in inputs],
            }
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        self.findings[violation.key] = Finding(violation, str(file))

    def slopes(self) -> dict[Door, float]:
        """Bytes that each server held more with each of its inputs after the warm-up."""
        return {
            door: growth_per_input(self.samples, door) for door in (self.samples[0].rss_bytes if self.samples else ())
        }

    def to_json(self) -> dict[str, Any]:
        """JSON types only."""
        rpcs: dict[str, dict[str, int]] = {}
        for (name, status), count in sorted(self.counts.items()):
            rpcs.setdefault(name, {})[status] = count
        first, last = (self.samples[0], self.samples[-1]) if self.samples else (None, None)
        return {
            "seed": self.seed,
            "now": self.now,
            "inputs": self.inputs,
            "seconds": round(self.seconds, 1),
            "inputs_per_s": round(self.inputs / self.seconds, 1) if self.seconds else 0,
            "rpcs": rpcs,
            "reasons": dict(self.reasons.most_common()),
            "manners": dict(self.manners.most_common()),
            "depths": {
                door.value: {depth.value: self.depths[door, depth] for depth in DEPTHS if self.depths[door, depth]}
                for door in sorted(self.received)
            },
            "slowest": {"seconds": round(self.slowest[0], 3), "input": self.slowest[1]},
            "held_bytes": {
                door.value: {
                    "before": first.held_bytes(door),
                    "after": last.held_bytes(door) if door in last.rss_bytes else 0,
                    "inputs": last.received.get(door, 0),
                    "per_input": round(slope),
                }
                for door, slope in self.slopes().items()
                if first is not None and last is not None
            },
            "samples": [
                {
                    "inputs": one.inputs,
                    "received": {door.value: count for door, count in one.received.items()},
                    "rss_bytes": {door.value: rss for door, rss in one.rss_bytes.items()},
                    "free_bytes": {door.value: free for door, free in one.free_bytes.items()},
                }
                for one in self.samples
            ],
            "findings": [
                {
                    "rule": f.violation.rule,
                    "detail": f.violation.detail,
                    "key": key,
                    "seen": self.seen[key],
                    "file": f.file,
                }
                for key, f in self.findings.items()
            ],
        }

    def write(self) -> Path:
        """`report.json` in the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "report.json"
        file.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        return file

    def lines(self) -> Iterable[str]:
        """The report for people."""
        statuses = sorted({status for _, status in self.counts})
        names = sorted({name for name, _ in self.counts})
        short = {status: status.replace("_", " ").title().replace(" ", "")[:12] for status in statuses}
        yield f"{'RPC':44}" + "".join(f"{short[status]:>13}" for status in statuses)
        for name in names:
            yield f"{name:44}" + "".join(f"{self.counts[name, status] or '.':>13}" for status in statuses)
        totals = [sum(self.counts[name, status] for name in names) for status in statuses]
        yield f"{'all':44}" + "".join(f"{total:>13}" for total in totals)
        yield ""
        yield from self._depth_lines()
        yield ""
        yield "reasons: " + ", ".join(f"{reason} {count}" for reason, count in self.reasons.most_common())
        yield "manners: " + ", ".join(f"{manner} {count}" for manner, count in self.manners.most_common())
        slopes = self.slopes()
        for door, slope in slopes.items():
            ends = [sample for sample in (self.samples[0], self.samples[-1]) if door in sample.rss_bytes]
            before, after = ends[0].held_bytes(door) / 2**20, ends[-1].held_bytes(door) / 2**20
            grown = f"{before:7.1f} MiB -> {after:7.1f} MiB, {slope:+6.0f} bytes with each"
            yield f"memory: {door:16} {grown} of its {self.received[door]} inputs"
        yield f"slowest: {self.slowest[0]:.2f} s, {self.slowest[1]}"
        rate = self.inputs / self.seconds if self.seconds else 0
        found = len(self.findings)
        yield f"{self.inputs} inputs in {self.seconds:.0f} s ({rate:.0f}/s), seed {self.seed}, {found} findings"
        for key, finding in self.findings.items():
            yield f"  {finding.violation.rule} ({self.seen[key]} times): {key.split(' ', 1)[1]}"
            yield f"      {finding.violation.detail}"
            yield f"      {finding.file}"

    def _depth_lines(self) -> Iterable[str]:
        """Where the inputs ended, in percent of what each server got."""
        yield f"{'how far they came, in %':24}{'inputs':>10}" + "".join(f"{depth.value:>11}" for depth in DEPTHS)
        for door in sorted(self.received):
            yield self._depth_line(door.value, {depth: self.depths[door, depth] for depth in DEPTHS})
        yield self._depth_line(
            "all", {depth: sum(self.depths[door, depth] for door in self.received) for depth in DEPTHS}
        )

    @staticmethod
    def _depth_line(name: str, counts: dict[Depth, int]) -> str:
        total = sum(counts.values()) or 1
        return f"{name:24}{total:>10}" + "".join(f"{100 * counts[depth] / total:>11.1f}" for depth in DEPTHS)
