"""Positions in the list of executions. Page tokens are not secret: whoever reads this can write one."""

import pytest
from intentmesh.domain.errors import InvalidArgument
from intentmesh.executor.servicer import position_key
from intentmesh.v1.error_pb2 import ErrorReason

ID = "ab" * 32


def test_position__as_issued__is_a_key() -> None:
    key = position_key(f"2026-01-02T03:04:05.000006+00:00 {ID}")
    assert (key.due_at.year, key.due_at.microsecond, key.intent_id) == (2026, 6, bytes.fromhex(ID))


@pytest.mark.parametrize(
    "position",
    [
        "",
        ID,
        f"2026-01-02T03:04:05 {ID}",
        f"0001-01-01T00:00:00+23:59 {ID}",
        f"9999-12-31T23:59:59-23:59 {ID}",
        "2026-01-02T03:04:05+00:00 ab",
        f"2026-01-02T03:04:05+00:00 {ID}{ID}",
        "2026-01-02T03:04:05+00:00 zz",
    ],
)
def test_position__forged__is_refused(position: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        position_key(position)
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN
