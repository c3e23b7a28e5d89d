"""`intentmesh contracts`: the contract pipeline, from the gates over the sources to a verified deployment."""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from intentmesh.cli.contracts_chains import chains_command
from intentmesh.cli.contracts_deploy import deploy_command, verify_command
from intentmesh.cli.contracts_options import acceptances_of, json_option, repository_option, told
from intentmesh.cli.output import Form, Output
from intentmesh.contract_pipeline.audit import all_gates, audit, write_reports
from intentmesh.contract_pipeline.gates import Gate
from intentmesh.contract_pipeline.mutation import MutationRun, Trial, load_mutants, mutation_gates
from intentmesh.contract_pipeline.reports import GateReport, JsonValue, Verdict, verdict_of
from intentmesh.contract_pipeline.workspace import Workspace

REPORT_FOLDER = Path("build/audit")


@click.group(name="contracts")
def command() -> None:
    """Prove, deploy and verify the contracts."""
    # An end by SIGTERM must end the tools as well, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@command.command(name="audit")
@click.option(
    "--gate",
    "names",
    multiple=True,
    type=click.Choice([gate.name for gate in all_gates()]),
    help="Only this gate; may be given several times.",
)
@repository_option
@json_option
def audit_command(names: tuple[str, ...], repository: Path, as_json: bool) -> None:
    """Run every gate without deploying anything. Exit code 0 only if all pass.

    The reports are also in build/audit/report.json, those of some gates only in build/audit/partial-report.json.
    """
    output = Output.choose(as_json)
    gates = [gate for gate in all_gates() if not names or gate.name in names]
    reports = told(lambda: _audit(repository, gates, output))
    verdict = verdict_of(reports)
    write_reports(repository / REPORT_FOLDER, reports, [gate.name for gate in all_gates()])
    if output.form is not Form.JSON:
        output.table("Gates", ("gate", "verdict", "seconds", "what"), [_row(report) for report in reports])
        for report in reports:
            for finding in report.findings:
                output.record({}, line=f"FINDING  {finding.gate}: {finding.sentence()}")
    total = sum(report.seconds for report in reports)
    output.record(
        {"event": "end", "verdict": verdict.value, "seconds": round(total, 1)},
        line=f"{verdict.value}: {len(reports)} gates in {total:.0f} s",
    )
    sys.exit(0 if verdict is Verdict.PASSED else 1)


@command.command(name="mutants")
@click.option("--only", "names", multiple=True, help="Only the mutant of this name; may be given several times.")
@click.option(
    "--gate",
    "gate_names",
    multiple=True,
    type=click.Choice([gate.name for gate in mutation_gates()]),
    help="Ask only this gate; may be given several times.",
)
@click.option("--every-gate", is_flag=True, help="Ask all gates about every mutant, not only until one notices it.")
@repository_option
@json_option
def mutants_command(
    names: tuple[str, ...], gate_names: tuple[str, ...], every_gate: bool, repository: Path, as_json: bool
) -> None:
    """Put one mistake at a time into the contracts and see which gate notices. Exit code 0 only if all are noticed.

    A gate that fails, or finds something in the unchanged contracts as well, has noticed nothing. The trials are also
    in build/audit/mutants.json; in partial-mutants.json, if only some mutants or gates were asked for.
    """
    output = Output.choose(as_json)
    gates = [gate for gate in mutation_gates() if not gate_names or gate.name in gate_names]
    trials = told(lambda: _try_mutants(repository, names, gates, every_gate, output))
    survivors = [trial.mutant.name for trial in trials if not trial.caught]
    content: JsonValue = {
        "gates": [gate.name for gate in gates],
        "every_gate": every_gate,
        "survivors": survivors,
        "mutants": [_trial_json(trial) for trial in trials],
    }
    _write_trials(repository, content, partial=bool(names or gate_names))
    if output.form is not Form.JSON:
        columns = ("mutant", "promise it breaks", "noticed by", "first by", "seconds")
        output.table("Mutants", columns, [_trial_row(trial) for trial in trials])
    output.record(
        {"event": "end", "mutants": len(trials), "survivors": survivors},
        line=f"{len(trials) - len(survivors)} of {len(trials)} mutants noticed"
        + (f"; NOT NOTICED: {', '.join(survivors)}" if survivors else ""),
    )
    sys.exit(1 if survivors else 0)


command.add_command(deploy_command)
command.add_command(verify_command)
command.add_command(chains_command)


def _audit(repository: Path, gates: Sequence[Gate], output: Output) -> list[GateReport]:
    reports = []
    output.note(f"asking {', '.join(gate.name for gate in gates)}: this takes minutes")
    for report in audit(Workspace.of(repository), gates, acceptances_of(repository)):
        reports.append(report)
        if output.form is Form.JSON:
            output.record({"event": "gate", **report.to_json()}, line="")
        else:
            output.note(f"{report.gate}: {report.verdict.value} after {report.seconds:.0f} s")
    return reports


def _try_mutants(
    repository: Path, names: tuple[str, ...], gates: Sequence[Gate], every_gate: bool, output: Output
) -> list[Trial]:
    mutants = load_mutants(repository)
    unknown = set(names) - {mutant.name for mutant in mutants}
    if unknown:
        raise click.BadParameter(f"no mutant is called {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in mutants if not names or mutant.name in names]
    run = MutationRun(Workspace.of(repository), gates, acceptances_of(repository))
    trials = []
    for trial in run.run(chosen, every_gate=every_gate):
        trials.append(trial)
        if output.form is Form.JSON:
            output.record({"event": "mutant", **_trial_json(trial)}, line="")
        else:
            by = ", ".join(gate for gate, _ in trial.caught_by) or "NOBODY"
            output.note(f"{trial.mutant.name}: noticed by {by} after {trial.seconds:.0f} s")
            for gate, failure in trial.failed:
                output.note(f"{trial.mutant.name}: {gate} came to no conclusion: {failure}")
    return trials


def _write_trials(repository: Path, content: JsonValue, *, partial: bool) -> None:
    folder = repository / REPORT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ("partial-mutants.json" if partial else "mutants.json")
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _row(report: GateReport) -> tuple[str, str, str, str]:
    what = report.summary
    if report.findings:
        what = f"{len(report.findings)} findings; {what}"
    if report.accepted:
        what += f"; {len(report.accepted)} accepted"
    return report.gate, report.verdict.value, f"{report.seconds:.1f}", what


def _trial_row(trial: Trial) -> tuple[str, ...]:
    gates = ", ".join(gate for gate, _ in trial.caught_by) or "NOBODY"
    first = trial.caught_by[0][1] if trial.caught_by else "-"
    return trial.mutant.name, trial.mutant.breaks, gates, first.partition(": ")[0], f"{trial.seconds:.0f}"


def _trial_json(trial: Trial) -> dict[str, JsonValue]:
    return {
        "mutant": trial.mutant.name,
        "breaks": trial.mutant.breaks,
        "asked": list(trial.asked),
        "caught_by": dict(trial.caught_by),
        "failed": dict(trial.failed),
        "seconds": round(trial.seconds, 1),
    }
