"""The CI workflow: no job is handed the secrets of another network than the one it deploys to."""

import re
from typing import Any

import pytest
import yaml
from intentmesh.contract_pipeline.networks import load_networks
from intentmesh.embedded.programs import REPOSITORY

WORKFLOW = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "contracts.yml").read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
NETWORKS = load_networks(REPOSITORY / "contracts" / "networks.toml")


def deployed_networks(job: dict[str, Any]) -> set[str]:
    commands = " ".join(step.get("run", "") for step in job["steps"])
    return set(re.findall(r"contracts deploy --network (\S+)", commands))


def test_workflow__every_network__has_a_job_and_an_environment_of_its_own() -> None:
    deploying = {name: deployed_networks(job) for name, job in JOBS.items() if deployed_networks(job)}
    assert deploying == {name: {name} for name in NETWORKS}
    assert {name: JOBS[name]["environment"] for name in deploying} == {name: name for name in NETWORKS}


def test_workflow__secrets__go_to_jobs_with_an_environment_only() -> None:
    for job in JOBS.values():
        assert "environment" in job or "secrets." not in yaml.safe_dump(job)


@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network.after])
def test_workflow__network_after_another__waits_for_its_job_and_takes_its_record(name: str) -> None:
    job, before = JOBS[name], NETWORKS[name].after
    assert job["needs"] == before
    fetching = index_of(job, uses="actions/download-artifact", name=f"deployment-{before}")
    assert index_of(job, uses="actions/cache/restore") < fetching < index_of_deploy(job)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_workflow__records_and_journals__are_there_before_a_deployment_and_kept_after_it(name: str) -> None:
    """What `--resume` goes by, and where the transactions of contracts that stand are known from."""
    job = JOBS[name]
    assert "--resume" in job["steps"][index_of_deploy(job)]["run"]
    restored = index_of(job, uses="actions/cache/restore")
    saved = index_of(job, uses="actions/cache/save")
    assert restored < index_of_deploy(job) < saved
    restoring, saving = job["steps"][restored]["with"], job["steps"][saved]["with"]
    paths = [f"build/deployments/{kind}/{name}-*" for kind in ("records", "journals")]
    assert restoring["path"].split() == saving["path"].split() == paths
    # A run's own key is new, so that each saves; it begins with what any run before it is found by.
    assert "github.run_id" in saving["key"]
    assert "github.run_attempt" in saving["key"]
    assert saving["key"].startswith(restoring["restore-keys"])
    assert name in restoring["restore-keys"]
    assert job["steps"][saved]["if"] == "always()"
    uploaded = job["steps"][index_of(job, uses="actions/upload-artifact")]
    assert uploaded["if"] == "always()"
    assert uploaded["with"]["path"].split() == ["build/deployments/records", "build/deployments/journals"]


def index_of(job: dict[str, Any], *, uses: str, name: str | None = None) -> int:
    (found,) = [
        number
        for number, step in enumerate(job["steps"])
        if step.get("uses", "").startswith(f"{uses}@") and name in (None, step["with"].get("name"))
    ]
    return found


def index_of_deploy(job: dict[str, Any]) -> int:
    (found,) = [number for number, step in enumerate(job["steps"]) if "contracts deploy" in step.get("run", "")]
    return found


def test_workflow__network_that_needs_a_word__gets_it_on_the_main_branch_only() -> None:
    for name, network in NETWORKS.items():
        commands = " ".join(step.get("run", "") for step in JOBS[name]["steps"])
        assert (f"--confirm {name}" in commands) == network.needs_confirmation
        assert ("refs/heads/main" in JOBS[name]["if"]) == network.needs_confirmation
