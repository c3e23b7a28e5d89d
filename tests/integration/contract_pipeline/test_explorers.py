"""Explorers' APIs over HTTP: verdicts, refusals, and that no message holds the key."""

import json
from collections.abc import Callable

import pytest
from aiohttp import web
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.errors import (
    ExplorerAnswerError,
    ExplorerError,
    ExplorerLimitedError,
    ExplorerRefusedError,
    ExplorerTimeoutError,
    MismatchError,
)
from intentmesh.contract_pipeline.explorers import Explorer, Publication, Submission
from intentmesh.contract_pipeline.explorers.etherscan import Etherscan
from intentmesh.contract_pipeline.explorers.exchange import Patience
from intentmesh.contract_pipeline.explorers.publishing import PUBLISH
from intentmesh.contract_pipeline.explorers.sourcify import Sourcify
from intentmesh.contract_pipeline.explorers.submission import make_submission
from intentmesh.contract_pipeline.inspection import Deployed
from intentmesh.contract_pipeline.plan import plan_network
from intentmesh.contract_pipeline.record import record_path
from intentmesh.contract_pipeline.reports import Verdict
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.domain.types import format_address
from intentmesh.embedded.programs import REPOSITORY

from tests.fixtures.servers import LocalChains
from tests.integration.contract_pipeline.conftest import Site, make_target
from tests.integration.contract_pipeline.explorer_servers import (
    KEY,
    EtherscanServer,
    SourcifyServer,
    answering,
    redirecting,
    serving,
    silent,
)

PATIENT = Patience(request_seconds=10, poll_seconds=0.01, verdict_seconds=20)
HURRIED = Patience(request_seconds=0.2, poll_seconds=0.01, verdict_seconds=0.5)
Maker = Callable[[str, Patience], Explorer]


def sourcify(url: str, patience: Patience) -> Explorer:
    return Sourcify(url, patience)


def etherscan(url: str, patience: Patience) -> Explorer:
    return Etherscan(f"{url}/v2/api", KEY, patience)


BOTH = pytest.mark.parametrize("maker", [sourcify, etherscan])


@pytest.fixture
def submission(chains: LocalChains, artifacts: Artifacts) -> Submission:
    """The oracle, which has constructor arguments."""
    plan = plan_network(make_target(chains), artifacts)[0]
    oracle = plan.contract("oracle")
    deployed = Deployed(oracle, plan.chain_id, oracle.address, None, sent=False)
    return make_submission(deployed, artifacts, Workspace.of(REPOSITORY).contracts)


async def outcome(
    maker: Maker, routes: tuple[web.RouteDef, ...], submission: Submission, patience: Patience = PATIENT
) -> Publication | ExplorerError:
    """What became of it; an error is looked at for the key before it is handed back."""
    async with serving(*routes) as url:
        explorer = maker(url, patience)
        assert KEY not in repr(explorer) + explorer.name
        try:
            return await explorer.publish(submission)
        except ExplorerError as caught:
            error = caught
    assert KEY not in str(error)
    assert url not in str(error)
    # Nor is it in what a traceback shows of its cause.
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    return error


async def test_sourcify__pending_then_exact_match__is_verified(submission: Submission) -> None:
    server = SourcifyServer()
    assert await outcome(sourcify, server.routes, submission) is Publication.VERIFIED
    ((place, content),) = server.submissions
    assert place == f"31337/{format_address(submission.address)}"
    assert content["contractIdentifier"] == "src/AttestedOracle.sol:AttestedOracle"
    assert content["compilerVersion"].startswith("0.8.37+commit.")
    assert server.looks == 3


async def test_etherscan__pending_then_pass__is_verified(submission: Submission) -> None:
    server = EtherscanServer(behind=1)
    assert await outcome(etherscan, server.routes, submission) is Publication.VERIFIED
    (form,) = server.submissions
    assert form["chainid"] == "31337"
    assert form["compilerversion"].startswith("v0.8.37+commit.")
    assert json.loads(form["sourceCode"])["settings"]["optimizer"] == {"enabled": True, "runs": 1_000_000}
    assert form["constructorArguements"] == submission.constructor_arguments.hex()
    assert server.looks == 3


async def test_explorer__already_verified__says_so(submission: Submission) -> None:
    sourcify_server, etherscan_server = SourcifyServer(verified=True), EtherscanServer(verified=True)
    assert await outcome(sourcify, sourcify_server.routes, submission) is Publication.ALREADY_VERIFIED
    assert await outcome(etherscan, etherscan_server.routes, submission) is Publication.ALREADY_VERIFIED
    late = EtherscanServer(end="Already Verified")
    assert await outcome(etherscan, late.routes, submission) is Publication.ALREADY_VERIFIED


@pytest.mark.parametrize(
    ("end", "kind", "says"),
    [
        (
            {"contract": {"match": None}, "error": {"customCode": "no_match", "message": "They differ."}},
            0,
            "They differ",
        ),
        ({"contract": {"match": "match"}}, 0, "other metadata"),
        (
            {"contract": None, "error": {"customCode": "compiler_error", "message": "Compile error."}},
            1,
            "Compile error",
        ),
        ({"contract": {"match": None}}, 2, "neither"),
    ],
)
async def test_sourcify__job_ends_otherwise__is_told_by_its_kind(
    end: dict[str, object], kind: int, says: str, submission: Submission
) -> None:
    error = await outcome(sourcify, SourcifyServer(end=end).routes, submission)
    assert type(error) is (MismatchError, ExplorerRefusedError, ExplorerAnswerError)[kind]
    assert says in str(error)


async def test_etherscan__mismatch__is_told(submission: Submission) -> None:
    server = EtherscanServer(end="Fail - Unable to verify")
    error = await outcome(etherscan, server.routes, submission)
    assert type(error) is MismatchError
    assert "Unable to verify" in str(error)


async def test_etherscan__wrong_key_that_it_repeats__is_refused_without_the_key(submission: Submission) -> None:
    def wrong(url: str, patience: Patience) -> Explorer:
        return Etherscan(f"{url}/v2/api", "ANOTHER-KEY", patience)

    error = await outcome(wrong, EtherscanServer().routes, submission)
    assert type(error) is ExplorerRefusedError
    assert "Invalid API Key" in str(error)
    assert "ANOTHER-KEY" not in str(error)


async def test_explorer__busy_for_a_while__is_asked_again(submission: Submission) -> None:
    assert await outcome(sourcify, SourcifyServer(busy=2).routes, submission) is Publication.VERIFIED
    assert await outcome(etherscan, EtherscanServer(busy=2).routes, submission) is Publication.VERIFIED


async def test_explorer__busy_for_good__is_told_as_that(submission: Submission) -> None:
    servers = (sourcify, SourcifyServer(busy=10**6)), (etherscan, EtherscanServer(busy=10**6))
    for maker, server in servers:
        error = await outcome(maker, server.routes, submission, HURRIED)
        assert type(error) is ExplorerLimitedError


@BOTH
@pytest.mark.parametrize(("text", "status"), [("<html>", 200), ("[]", 200), ("{}", 200), ("oops", 503), ("no", 404)])
async def test_explorer__garbage__is_told_as_that(maker: Maker, text: str, status: int, submission: Submission) -> None:
    error = await outcome(maker, answering(text, status), submission)
    # Sourcify refuses with such an object; an empty one is no refusal of Etherscan's.
    assert type(error) in (ExplorerAnswerError, ExplorerRefusedError)
    assert type(error) is ExplorerAnswerError or (maker is sourcify and text == "{}")


@BOTH
async def test_explorer__sends_elsewhere__is_not_followed(maker: Maker, submission: Submission) -> None:
    stranger = EtherscanServer()
    async with serving(*stranger.routes) as elsewhere:
        error = await outcome(maker, redirecting(f"{elsewhere}/v2/api"), submission)
    assert type(error) is ExplorerAnswerError
    assert not stranger.submissions


@BOTH
async def test_explorer__silent__is_given_up(maker: Maker, submission: Submission) -> None:
    error = await outcome(maker, silent(), submission, HURRIED)
    assert type(error) is ExplorerTimeoutError


@BOTH
async def test_explorer__not_there__is_told(maker: Maker, submission: Submission) -> None:
    async with serving() as url:
        pass
    with pytest.raises(ExplorerAnswerError, match="cannot be reached") as caught:
        await maker(url, PATIENT).publish(submission)
    assert KEY not in str(caught.value)


async def test_explorer__pending_for_good__is_given_up(submission: Submission) -> None:
    servers = (sourcify, SourcifyServer(10**6)), (etherscan, EtherscanServer(10**6))
    for maker, server in servers:
        error = await outcome(maker, server.routes, submission, HURRIED)
        assert type(error) is ExplorerTimeoutError
        assert "not judged" in str(error)


@pytest.mark.timeout(300)
def test_submission__compiled_again__gives_the_same_code(submission: Submission, artifacts: Artifacts) -> None:
    workspace = Workspace.of(REPOSITORY)
    question = json.dumps(submission.standard_json)
    completed = workspace.run(
        workspace.contracts / "tools" / "solc", ("--standard-json",), timeout_seconds=240, given=question
    )
    file, _, name = submission.identifier.partition(":")
    code = json.loads(completed.output)["contracts"][file][name]["evm"]["bytecode"]["object"]
    assert bytes.fromhex(code) == artifacts.creation_code("AttestedOracle")


async def test_pipeline__explorers_configured__records_what_they_say(site: Site) -> None:
    server = SourcifyServer(0)
    async with serving(*server.routes) as url:
        explorers = {31337: [Sourcify(url, PATIENT)]}
        result = await site.pipeline(explorers=explorers).run(site.deployment, resume=False, dry_run=False)
    report = result.stages[-1]
    assert (report.gate, report.verdict) == (PUBLISH, Verdict.PASSED)
    assert list(report.figures.values()) == ["verified"] * 5
    assert report.summary == "5 verified by explorers; no explorer is configured for chain 31338: skipped"
    assert {content["creationTransactionHash"][:2] for _, content in server.submissions} == {"0x"}
    assert result.record is not None
    assert result.record.stages[-1]["gate"] == PUBLISH


async def test_pipeline__explorer_gets_other_code__fails_with_no_record_and_goes_on_later(site: Site) -> None:
    error = {"contract": {"match": None}, "error": {"customCode": "no_match", "message": "They differ."}}
    async with serving(*SourcifyServer(0, end=error).routes) as url:
        explorers = {31337: [Sourcify(url, PATIENT)]}
        result = await site.pipeline(explorers=explorers).run(site.deployment, resume=False, dry_run=False)
    assert result.verdict is Verdict.FAILED
    assert {finding.check for finding in result.stages[-1].findings} == {"Mismatch"}
    assert not record_path(site.data_dir, "testnet", "1").exists()
    async with serving(*SourcifyServer(verified=True).routes) as url:
        explorers = {31337: [Sourcify(url, PATIENT)]}
        again = await site.pipeline(explorers=explorers).run(site.deployment, resume=True, dry_run=False)
    assert (again.verdict, again.transactions) == (Verdict.PASSED, 0)
    assert set(again.stages[-1].figures.values()) == {"already verified"}


async def test_pipeline__dry_run__asks_no_explorer(site: Site) -> None:
    server = SourcifyServer(0)
    async with serving(*server.routes) as url:
        explorers = {31337: [Sourcify(url, PATIENT)]}
        result = await site.pipeline(explorers=explorers).run(site.deployment, resume=False, dry_run=True)
    assert result.verdict is Verdict.PASSED
    assert not server.submissions
