"""The pipeline's Job in a cluster: what is deleted with it, and what stays."""

from pathlib import Path
from typing import Any

import yaml
from intentmesh.embedded.programs import REPOSITORY

JOBS = REPOSITORY / "deploy" / "kubernetes" / "jobs"


def objects_of(folder: Path) -> list[dict[str, Any]]:
    """All that a kustomization holds, as it stands in its files."""
    resources = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [entry for name in resources for entry in yaml.safe_load_all((folder / name).read_text())]


def test_job__deleted_after_a_deployment__takes_nothing_else_along() -> None:
    assert [entry["kind"] for entry in objects_of(JOBS)] == ["Job"]


def test_job__where_it_keeps_records_and_journals__is_a_volume_of_its_own() -> None:
    (job,) = objects_of(JOBS)
    (claim,) = objects_of(JOBS / "volume")
    (data,) = [volume for volume in job["spec"]["template"]["spec"]["volumes"] if volume["name"] == "data"]
    assert claim["kind"] == "PersistentVolumeClaim"
    assert data["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["args"][container["args"].index("--data-dir") + 1] == mounted["data"]
