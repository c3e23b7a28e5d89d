"""From sources to a verified deployment, stage by stage. One that fails stops it; what passed is not done again."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from intentmesh.chain.records import TransactionHash
from intentmesh.contract_pipeline.acceptances import Acceptances, unused_report
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.audit import run_gate
from intentmesh.contract_pipeline.bundle import BundleFolder
from intentmesh.contract_pipeline.deployment import ChainDeployer
from intentmesh.contract_pipeline.dry_journal import DryJournal
from intentmesh.contract_pipeline.errors import DeploymentError, InvalidRecordError, PipelineError
from intentmesh.contract_pipeline.explorers.publishing import Explorers, publish
from intentmesh.contract_pipeline.gates import Gate
from intentmesh.contract_pipeline.gates.compilation import CODE_HASHES
from intentmesh.contract_pipeline.inspection import Deployed
from intentmesh.contract_pipeline.journal import Journal, fingerprint
from intentmesh.contract_pipeline.networks import NetworkTarget
from intentmesh.contract_pipeline.plan import ChainPlan, plan_network
from intentmesh.contract_pipeline.record import DeploymentRecord, make_record, read_record, record_path
from intentmesh.contract_pipeline.reports import Finding, GateReport, JsonValue, Verdict
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address, ChainId
from intentmesh.transactions.signers import Signer

DEPLOY = "deploy"
VERIFY = "verify"
INTEGRATION = "integration tests"

# Runs real intents on the recorded deployment and tells what went wrong, nothing in a good run.
LiveTest = Callable[[DeploymentRecord], Awaitable[Sequence[str]]]
Watcher = Callable[[GateReport], None]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One network that is deployed to: its name, its configuration, where its chains answer, who pays."""

    name: str
    target: NetworkTarget
    # By chain id.
    urls: Mapping[int, str]
    signer: Signer
    # Networks that come after this one: they rely on its tests.
    followers: tuple[str, ...] = ()

    @property
    def local_urls(self) -> Mapping[int, str]:
        return {chain.chain_id: self.urls[chain.chain_id] for chain in self.target.chains if chain.local}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far it came. `record` is None when a stage failed, or nothing was to be recorded."""

    stages: tuple[GateReport, ...]
    record: DeploymentRecord | None
    transactions: int

    @property
    def verdict(self) -> Verdict:
        failed = any(stage.verdict is Verdict.FAILED for stage in self.stages)
        return Verdict.FAILED if failed else Verdict.PASSED


class Pipeline:
    """All stages for one network. Raises PipelineError and ChainUnavailable; findings are results, not errors."""

    def __init__(
        self,
        workspace: Workspace,
        data_dir: Path,
        gates: Sequence[Gate],
        acceptances: Acceptances,
        bundles: BundleFolder,
        explorers: Explorers,
        live_test: LiveTest | None,
        tools: Mapping[str, str],
        watcher: Watcher = lambda _: None,
    ) -> None:
        self._workspace = workspace
        self._data_dir = data_dir
        self._gates = gates
        self._acceptances = acceptances
        self._bundles = bundles
        self._explorers = explorers
        self._live_test = live_test
        self._tools = tools
        self._watcher = watcher

    async def run(self, deployment: Deployment, *, resume: bool, dry_run: bool) -> Outcome:
        """Gates, deployment, verification, live tests, publication, record.

        A dry run sends to the given chains, forks of the real ones, and leaves neither record nor journal.
        """
        mark = fingerprint(self._workspace.root, deployment.target.model_dump_json())
        kind = DryJournal if dry_run else Journal
        journal = kind(self._data_dir / "journals" / f"{deployment.name}-{deployment.target.version}.json", mark)
        journal.load(resume=resume)
        stages = self._pass_gates(journal)
        if _failed(stages):
            return Outcome(tuple(stages), None, 0)
        artifacts = Artifacts(self._workspace.artifacts)
        plans = plan_network(deployment.target, artifacts)
        _require_judged(plans, artifacts, stages)
        self._require_predecessor(deployment, plans)
        deployed = await self._deploy(deployment, plans, artifacts, stages, None if dry_run else journal)
        transactions = sum(one.sent for one in deployed)
        if _failed(stages):
            return Outcome(tuple(stages), None, transactions)
        record = make_record(
            deployment.name,
            deployment.target,
            plans,
            deployed,
            artifacts,
            deployment.local_urls,
            stages,
            mark,
            self._tools,
        )
        if dry_run:
            return Outcome(tuple(stages), None, transactions)
        await self._test_live(record, stages, journal, deployment.followers)
        if _failed(stages):
            return Outcome(tuple(stages), None, transactions)
        for one in deployed:
            self._bundles.add(one, artifacts, self._workspace.contracts)
        await self._publish(deployed, artifacts, stages)
        if _failed(stages):
            return Outcome(tuple(stages), None, transactions)
        record = record.model_copy(update={"stages": tuple(stage.to_json() for stage in stages)})
        record.write(record_path(self._data_dir, deployment.name, deployment.target.version))
        journal.close()
        return Outcome(tuple(stages), record, transactions)

    def _pass_gates(self, journal: Journal) -> list[GateReport]:
        stages: list[GateReport] = []
        for gate in self._gates:
            report = self._passed_before(gate, journal) or run_gate(gate, self._workspace, self._acceptances)
            self._conclude(report, stages, journal)
            if _failed(stages):
                return stages
        unused = self._acceptances.unused(stages)
        if unused:
            self._conclude(unused_report(unused), stages)
        return stages

    def _passed_before(self, gate: Gate, journal: Journal) -> GateReport | None:
        """What a run before said, with the findings accepted as of today."""
        report = journal.passed(gate.name)
        return None if report is None else self._acceptances.apply(replace(report, findings=report.accepted))

    async def _deploy(
        self,
        deployment: Deployment,
        plans: Sequence[ChainPlan],
        artifacts: Artifacts,
        stages: list[GateReport],
        journal: Journal | None,
    ) -> list[Deployed]:
        """Neither of these stages is ever taken from the journal: the chain itself knows, and asking it is cheap. What
        is sent is noted there; a dry run, on forks that will be gone, has none."""
        known = self._known_transactions(deployment)
        deployed: list[Deployed] = []
        faults: list[Finding] = []
        findings: list[Finding] = []
        began = time.monotonic()
        verifying = 0.0
        for plan in plans:
            url = deployment.urls[plan.chain_id]
            async with ChainDeployer(plan, url, deployment.signer, artifacts, on_fork=journal is None) as deployer:
                try:
                    if plan.chain.local:
                        await deployer.prepare_local()
                    there = await self._deploy_chain(deployer, plan.chain_id, known.get(plan.chain_id, {}), journal)
                except DeploymentError as error:
                    faults.append(Finding(DEPLOY, "chain", plan.chain.name, str(error)))
                    break
                started = time.monotonic()
                findings += await deployer.verify(there)
                verifying += time.monotonic() - started
            deployed += there
        sent = sum(one.sent for one in deployed)
        figures = {f"{one.chain_id}/{one.planned.role}": "0x" + one.address.hex() for one in deployed}
        summary = f"{len(deployed)} contracts on {len(plans)} chains, {sent} transactions"
        spent = time.monotonic() - began - verifying
        self._conclude(GateReport(DEPLOY, tuple(faults), summary, figures, seconds=spent), stages)
        if faults:
            return deployed
        summary = f"{len(deployed)} contracts are what was compiled and configured"
        self._conclude(GateReport(VERIFY, tuple(findings), summary, seconds=verifying), stages)
        return deployed

    async def _deploy_chain(
        self,
        deployer: ChainDeployer,
        chain_id: ChainId,
        known: Mapping[Address, TransactionHash],
        journal: Journal | None,
    ) -> list[Deployed]:
        if journal is None:
            return await deployer.deploy(known)
        return await deployer.deploy(
            {**known, **journal.transactions(chain_id)},
            lambda address, transaction: journal.remember(chain_id, address, transaction, undoes=INTEGRATION),
        )

    async def _test_live(
        self, record: DeploymentRecord, stages: list[GateReport], journal: Journal, followers: Sequence[str]
    ) -> None:
        if self._live_test is None:
            self._conclude(_untested(record.network_name, followers), stages)
            return
        report = journal.passed(INTEGRATION)
        if report is None:
            began = time.monotonic()
            problems = await self._live_test(record)
            findings = tuple(Finding(INTEGRATION, "intent", record.network_name, problem) for problem in problems)
            report = GateReport(
                INTEGRATION,
                findings,
                "real intents from signature to settlement",
                {"tried": True},
                seconds=time.monotonic() - began,
            )
        self._conclude(report, stages, journal)

    async def _publish(self, deployed: Sequence[Deployed], artifacts: Artifacts, stages: list[GateReport]) -> None:
        """Never from the journal: an explorer that has a contract says so, and asking it is cheap."""
        began = time.monotonic()
        report = await publish(deployed, self._explorers, artifacts, self._workspace.contracts)
        self._conclude(replace(report, seconds=time.monotonic() - began), stages)

    def _conclude(self, report: GateReport, stages: list[GateReport], journal: Journal | None = None) -> None:
        stages.append(report)
        if journal is not None and report.verdict is Verdict.PASSED:
            journal.add(report)
        self._watcher(report)

    def _known_transactions(self, deployment: Deployment) -> Mapping[int, Mapping[Address, TransactionHash]]:
        path = record_path(self._data_dir, deployment.name, deployment.target.version)
        return read_record(path).transactions() if path.exists() else {}

    def _require_predecessor(self, deployment: Deployment, plans: Sequence[ChainPlan]) -> None:
        """The same code must have stood its tests on the network that comes before."""
        before = deployment.target.after
        if before is None:
            return
        path = record_path(self._data_dir, before, deployment.target.version)
        try:
            record = read_record(path)
        except InvalidRecordError:
            fault = f"{deployment.name} comes after {before}, which has no record: deploy there first"
            raise PipelineError(fault) from None
        if not any(_shows_intents(stage) for stage in record.stages):
            raise PipelineError(f"{deployment.name} comes after {before}, and no intent was tried on {before}")
        tested = {contract.name: contract.runtime_code_hash for contract in record.contracts}
        artifacts = Artifacts(self._workspace.artifacts)
        for name in {contract.name for plan in plans for contract in plan.contracts}:
            code = "0x" + keccak(artifacts.runtime_template(name).code).hex()
            if tested.get(name) != code:
                raise PipelineError(f"{name} on {before} has other code than this one: deploy there first")


def _untested(network: str, followers: Sequence[str]) -> GateReport:
    """Of a network where nobody can mint tokens. Whoever comes after it would come after code that nobody tried."""
    where = "every chain needs test_tokens for that"
    what = f"{', '.join(followers)} comes after it, and no intent can be tried here: {where}"
    findings = (Finding(INTEGRATION, "possible", network, what),) if followers else ()
    return GateReport(INTEGRATION, findings, f"skipped: no intent can be tried here, {where}", {"tried": False})


def _shows_intents(stage: Mapping[str, object]) -> bool:
    """Whether a recorded stage says that real intents were driven to their settlement."""
    figures = stage.get("figures")
    passed = stage.get("gate") == INTEGRATION and stage.get("verdict") == Verdict.PASSED.value
    return passed and isinstance(figures, Mapping) and figures.get("tried") is True


def _require_judged(plans: Sequence[ChainPlan], artifacts: Artifacts, stages: Sequence[GateReport]) -> None:
    """What was built before, after or beside what the gates compiled is never sent, also when their word is old."""
    judged: dict[str, JsonValue] = {}
    for stage in stages:
        hashes = stage.figures.get(CODE_HASHES, {})
        judged.update(hashes if isinstance(hashes, Mapping) else {})
    for name in sorted({contract.name for plan in plans for contract in plan.contracts}):
        if judged.get(name) != "0x" + keccak(artifacts.creation_code(name)).hex():
            fault = f"{name} in build/contracts is not what the gates have compiled and judged"
            raise PipelineError(f"{fault}: run `make contracts` and start again")


def _failed(stages: Sequence[GateReport]) -> bool:
    return bool(stages) and stages[-1].verdict is Verdict.FAILED
