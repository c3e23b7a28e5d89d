"""The mesh of the acceptance tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.mesh import RunningMesh


# Not the session's: it would go on polling and mining beside all tests that come after these.
@pytest.fixture(scope="package")
def mesh() -> Iterator[RunningMesh]:
    """One mesh for all acceptance tests that do not break it."""
    with (
        tempfile.TemporaryDirectory(prefix="intentmesh-acceptance-") as folder,
        RunningMesh(Path(folder) / "m") as mesh,
    ):
        yield mesh
