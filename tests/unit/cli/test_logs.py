"""What a command prints is its answer; what it logs stands beside it."""

from collections.abc import Iterator

import pytest
import structlog
from intentmesh.cli.main import main


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_command__that_logs__keeps_it_out_of_its_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.callback is not None
    # What runs before every subcommand.
    main.callback()
    structlog.get_logger().warning("part_died", part="executor")
    printed = capsys.readouterr()
    assert "part_died" in printed.err
    assert printed.out == ""
