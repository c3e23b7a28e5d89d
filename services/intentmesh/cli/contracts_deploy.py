"""`intentmesh contracts deploy` and `verify`: the networks of a file, their chains, and the pipeline over them."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from intentmesh.chain.config import KeyReference
from intentmesh.cli.contracts_chains import plainly, running_chains
from intentmesh.cli.contracts_live import run_intents
from intentmesh.cli.contracts_options import (
    acceptances_of,
    data_dir_option,
    followers_of,
    json_option,
    network_option,
    networks_option,
    repository_option,
    target_of,
    told,
)
from intentmesh.cli.output import Form, Output
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.audit import all_gates
from intentmesh.contract_pipeline.bundle import BundleFolder
from intentmesh.contract_pipeline.development_accounts import DEVELOPMENT_ACCOUNTS
from intentmesh.contract_pipeline.errors import NotConfirmedError, PipelineError
from intentmesh.contract_pipeline.explorers.publishing import explorers_of, publish
from intentmesh.contract_pipeline.gates import Gate
from intentmesh.contract_pipeline.inspection import ChainInspector, Deployed
from intentmesh.contract_pipeline.networks import NetworkTarget
from intentmesh.contract_pipeline.pipeline import Deployment, LiveTest, Outcome, Pipeline
from intentmesh.contract_pipeline.plan import plan_network
from intentmesh.contract_pipeline.record import read_record, record_path, recorded_only
from intentmesh.contract_pipeline.reports import Finding, GateReport, Verdict
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.domain.types import format_address
from intentmesh.embedded.deployment import LOCAL_ACCOUNTS
from intentmesh.transactions.signers import KeyUnavailableError, Signer, load_signer

# Account 9 of every Anvil chain: public, worth nothing anywhere else.
LOCAL_DEPLOYER_KEY = bytes.fromhex("2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6")


@click.command(name="deploy")
@network_option
@networks_option
@data_dir_option
@click.option("--resume", is_flag=True, help="Go on where a run of the same sources and configuration was interrupted.")
@click.option("--dry-run", is_flag=True, help="Deploy to forks of the chains; no record, no journal.")
@click.option("--confirm", metavar="NETWORK", help="The network's name once more, where one has to be sure.")
@repository_option
@json_option
@click.pass_obj
def deploy_command(
    gates: Sequence[Gate] | None,
    name: str,
    networks_file: Path | None,
    data_dir: Path,
    resume: bool,
    dry_run: bool,
    confirm: str | None,
    repository: Path,
    as_json: bool,
) -> None:
    """Prove, deploy, verify and record the contracts. Exit code 0 only if every stage passes.

    What stands on a chain already is not sent again. The record is DATA_DIR/records/NETWORK-VERSION.json, which
    `intentmesh up --chains` reads.
    """
    # Only who calls it as a function can give other gates; neither options nor the environment can.
    asked = all_gates() if gates is None else gates
    output = Output.choose(as_json)
    target = told(lambda: target_of(repository, networks_file, name))
    told(lambda: _require_confirmation(name, target, confirm, dry_run))
    followers = told(lambda: followers_of(repository, networks_file, name))
    work = _deploy(repository, data_dir, name, target, followers, asked, resume, dry_run, output)
    outcome = told(lambda: asyncio.run(plainly(work)))
    _conclude(output, outcome, record_path(data_dir, name, target.version))
    sys.exit(0 if outcome.verdict is Verdict.PASSED else 1)


@click.command(name="verify")
@network_option
@networks_option
@data_dir_option
@click.option("--publish", "publishing", is_flag=True, help="Then have the explorers of the configuration show it.")
@repository_option
@json_option
def verify_command(
    name: str, networks_file: Path | None, data_dir: Path, publishing: bool, repository: Path, as_json: bool
) -> None:
    """Compare what stands on the chains of a record with what is compiled and configured here; sends nothing there."""
    output = Output.choose(as_json)
    target = told(lambda: target_of(repository, networks_file, name))
    findings, deployed = told(lambda: asyncio.run(plainly(verify_recorded(repository, data_dir, name, target))))
    if publishing and not findings:
        report = told(lambda: asyncio.run(_publish(repository, target, deployed)))
        _show(output, report)
        findings += report.findings
    for finding in findings:
        output.record({"event": "finding", **finding.to_json()}, line=f"FINDING  {finding.sentence()}")
    verdict = Verdict.FAILED if findings else Verdict.PASSED
    output.record({"event": "end", "verdict": verdict.value}, line=f"{verdict.value}: {len(findings)} differences")
    sys.exit(1 if findings else 0)


async def _deploy(
    repository: Path,
    data_dir: Path,
    name: str,
    target: NetworkTarget,
    followers: tuple[str, ...],
    gates: Sequence[Gate],
    resume: bool,
    dry_run: bool,
    output: Output,
) -> Outcome:
    workspace = Workspace.of(repository)
    pipeline = Pipeline(
        workspace,
        data_dir,
        gates,
        acceptances_of(repository),
        BundleFolder(data_dir / "bundles"),
        {} if dry_run else explorers_of(target),
        _live_test(target),
        workspace.tool_versions(),
        lambda report: _show(output, report),
    )
    async with running_chains(data_dir, target, dry_run) as urls:
        deployment = Deployment(name, _with_local_keys(data_dir, target), urls, signer_of(target), followers)
        return await pipeline.run(deployment, resume=resume, dry_run=dry_run)


async def verify_recorded(
    repository: Path, data_dir: Path, name: str, target: NetworkTarget
) -> tuple[list[Finding], list[Deployed]]:
    """The differences, and what was looked at."""
    record = read_record(record_path(data_dir, name, target.version))
    artifacts = Artifacts(Workspace.of(repository).artifacts)
    known = record.transactions()
    addresses = {(contract.chain_id, contract.role): contract.address for contract in record.contracts}
    plans = plan_network(target, artifacts)
    findings = recorded_only(record, plans)
    everywhere: list[Deployed] = []
    async with running_chains(data_dir, target, dry_run=False) as urls:
        for plan in plans:
            deployed = [
                Deployed(
                    planned,
                    plan.chain_id,
                    address := addresses.get((plan.chain_id, planned.role), planned.address),
                    known.get(plan.chain_id, {}).get(address),
                    sent=False,
                )
                for planned in plan.contracts
            ]
            async with ChainInspector(plan, urls[plan.chain_id], artifacts) as inspector:
                findings += await inspector.verify(deployed)
            everywhere += deployed
    return findings, everywhere


async def _publish(repository: Path, target: NetworkTarget, deployed: Sequence[Deployed]) -> GateReport:
    workspace = Workspace.of(repository)
    return await publish(deployed, explorers_of(target), Artifacts(workspace.artifacts), workspace.contracts)


def _live_test(target: NetworkTarget) -> LiveTest | None:
    """Intents need tokens that anybody can mint; without them only a network that nobody comes after passes."""
    return run_intents if all(chain.test_tokens for chain in target.chains) else None


def _require_confirmation(name: str, target: NetworkTarget, confirm: str | None, dry_run: bool) -> None:
    """A person types the network's name; a program without a terminal has to pass it."""
    if not target.needs_confirmation or dry_run or confirm == name:
        return
    if confirm is None and sys.stdin.isatty():
        confirm = click.prompt(f"This deploys to {name}. Type its name to go on", default="", show_default=False)
    if confirm != name:
        raise NotConfirmedError(f"deploying to {name} needs a person's word: pass --confirm {name}")


def signer_of(target: NetworkTarget) -> Signer:
    """Who pays. Raises PipelineError when its key cannot be had, or everybody has it."""
    if target.deployer_key is None:
        return Signer(LOCAL_DEPLOYER_KEY)
    try:
        signer = load_signer(target.deployer_key)
    except KeyUnavailableError as error:
        raise PipelineError(str(error)) from None
    if not target.all_local and signer.address in DEVELOPMENT_ACCOUNTS:
        shown = format_address(signer.address)
        raise PipelineError(f"{target.deployer_key}: {shown} is a development account: its key is public")
    return signer


def _with_local_keys(data_dir: Path, target: NetworkTarget) -> NetworkTarget:
    """Local networks refer to the development keys, as files: the mesh takes them as it takes real ones."""
    if not target.all_local or target.keys:
        return target
    folder = data_dir.resolve() / "keys"
    folder.mkdir(parents=True, exist_ok=True)
    references = []
    for number, account in enumerate(LOCAL_ACCOUNTS):
        file = folder / f"{number}-{account.role}.key"
        file.touch(mode=0o600)
        file.write_text("0x" + account.private_key.hex() + "\n", encoding="ascii")
        references.append(KeyReference.model_validate({"role": account.role, "key": f"file:{file}"}))
    return target.model_copy(update={"keys": tuple(references)})


def _show(output: Output, report: GateReport) -> None:
    if output.form is Form.JSON:
        output.record({"event": "stage", **report.to_json()}, line="")
        return
    output.note(f"{report.gate}: {report.verdict.value} after {report.seconds:.1f} s ({report.summary})")


def _conclude(output: Output, outcome: Outcome, record: Path) -> None:
    if output.form is not Form.JSON:
        rows = [(stage.gate, stage.verdict.value, f"{stage.seconds:.1f}", stage.summary) for stage in outcome.stages]
        output.table("Stages", ("stage", "verdict", "seconds", "what"), rows)
        for stage in outcome.stages:
            for finding in stage.findings:
                output.record({}, line=f"FINDING  {finding.gate}: {finding.sentence()}")
    written = str(record) if outcome.record is not None else None
    output.record(
        {
            "event": "end",
            "verdict": outcome.verdict.value,
            "transactions": outcome.transactions,
            "record": written,
        },
        line=f"{outcome.verdict.value}: {outcome.transactions} transactions"
        + (f", recorded in {written}" if written else ", nothing recorded"),
    )
