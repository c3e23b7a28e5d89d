"""The policy as a file: what it may say, what happens when it changes, and when it cannot be used."""

from decimal import Decimal
from pathlib import Path

import pytest
from intentmesh.domain.types import format_address
from intentmesh.intake.policy import Policy, Terms
from intentmesh.intake.policy_file import InvalidPolicyError, PolicyFile
from structlog.testing import capture_logs

from tests.fixtures.orders import OTHER, USER
from tests.unit.intake.networks import ALPHA, NETWORK

BASE = Terms(Policy(maximum_open_intents_per_user=7, banned_users=frozenset((USER,))))
NOTHING = "# as the settings say"


def _file(path: Path, text: str) -> Path:
    (path / "policy.toml").write_text(text)
    return path / "policy.toml"


def test_policy_file__what_it_names__replaces_the_settings(tmp_path: Path) -> None:
    text = f"""
    banned_users = ["{format_address(OTHER)}"]
    minimum_value = "2.5"
    [prices]
    USDC = "1"
    [delegations]
    "service:shop" = ["{format_address(USER)}"]
    [limits]
    requests_per_minute = 5
    """
    terms = PolicyFile(BASE, NETWORK, _file(tmp_path, text)).terms
    assert terms.policy.banned_users == frozenset((OTHER,))
    assert terms.policy.maximum_open_intents_per_user == 7
    assert terms.policy.minimum_value == Decimal("2.5")
    assert terms.policy.prices[ALPHA.chain_id, ALPHA.tokens["USDC"].address] == Decimal("0.000001")
    assert terms.policy.delegations == {"service:shop": frozenset(("0x" + USER.hex(),))}
    assert (terms.limits.requests.amount, terms.limits.new_intents.amount) == (5, 100)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("banned_users = [", "TOML"),
        ('banned_users = ["0x12"]', "banned_users"),
        ("bannedusers = []", "bannedusers"),
        ('[prices]\nDOGE = "1"', "prices.DOGE"),
        ('[prices]\nUSDC = "1e999999999"', "prices.USDC"),
        (f"[limits]\nrequests_per_minute = {10**30}", "limits.requests_per_minute"),
        (f"minimum_fill_seconds = {10**400}", "minimum_fill_seconds"),
        ('[gas_prices]\nalpha = "1e31"', "gas_prices.alpha"),
        ('minimum_margin = "-1e999999"', "minimum_margin"),
        ('largest_return = "1e999999"', "largest_return"),
        ('[delegations]\nanonymous = ["*"]', "delegations"),
        ("[limits]\nrequests_per_minute = 0", "limits.requests_per_minute"),
    ],
)
def test_policy_file__that_cannot_be_used__says_where(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(InvalidPolicyError, match=place):
        PolicyFile(BASE, NETWORK, _file(tmp_path, text))


def test_policy_file__changed__is_taken_over_with_a_line_of_what_changed(tmp_path: Path) -> None:
    applied: list[Terms] = []
    path = _file(tmp_path, NOTHING)
    file = PolicyFile(BASE, NETWORK, path, applied.append)
    _file(tmp_path, f'intake_enabled = false\nbanned_users = ["{format_address(OTHER)}"]')
    with capture_logs() as logs:
        file.look()
        file.look()
    assert not file.policy().intake_enabled
    assert applied[-1] is file.terms
    (line,) = logs
    assert line["event"] == "policy_changed"
    assert line["changes"] == {
        "intake_enabled": {"before": "True", "after": "False"},
        "banned_users": {"added": [format_address(OTHER)], "removed": [format_address(USER)]},
    }


def test_policy_file__read_at_start__leaves_a_line_of_what_it_changes(tmp_path: Path) -> None:
    path = _file(tmp_path, 'changed_by = "alice"\nintake_enabled = false')
    with capture_logs() as logs:
        PolicyFile(BASE, NETWORK, path)
    (line,) = logs
    assert (line["event"], line["changed_by"]) == ("policy_read", "alice")
    assert line["changes"] == {"intake_enabled": {"before": "True", "after": "False"}}
    assert line["sha256"]


@pytest.mark.parametrize("text", ["nonsense", None])
def test_policy_file__broken_or_gone_while_running__changes_nothing_and_says_so_once(
    tmp_path: Path, text: str | None
) -> None:
    path = _file(tmp_path, "intake_enabled = false")
    file = PolicyFile(BASE, NETWORK, path)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with capture_logs() as logs:
        file.look()
        file.look()
    assert not file.policy().intake_enabled
    assert [line["event"] for line in logs] == ["policy_refused"]
    _file(tmp_path, NOTHING)
    file.look()
    file.look()
    assert file.policy().intake_enabled


@pytest.mark.parametrize("emptied", ["", "\n  \n"])
def test_policy_file__emptied_while_running__changes_nothing_and_says_so_once(tmp_path: Path, emptied: str) -> None:
    file = PolicyFile(BASE, NETWORK, _file(tmp_path, "intake_enabled = false"))
    _file(tmp_path, emptied)
    with capture_logs() as logs:
        for _ in range(3):
            file.look()
    assert not file.policy().intake_enabled
    assert [line["event"] for line in logs] == ["policy_refused"]
    with pytest.raises(InvalidPolicyError, match="empty"):
        PolicyFile(BASE, NETWORK, tmp_path / "policy.toml")


@pytest.mark.parametrize("half", ['changed_by = "alice"', "banned_users = ["])
def test_policy_file__looked_at_in_the_middle_of_a_write__is_taken_over_when_it_is_whole(
    tmp_path: Path, half: str
) -> None:
    applied: list[Terms] = []
    file = PolicyFile(BASE, NETWORK, _file(tmp_path, "intake_enabled = false"), applied.append)
    whole = f"{half.replace('[', '[]')}\nintake_enabled = false\nmaximum_open_intents_per_user = 3"
    with capture_logs() as logs:
        for text in (half, whole, whole):
            _file(tmp_path, text)
            file.look()
    assert [line["event"] for line in logs] == ["policy_changed"]
    assert all(not terms.policy.intake_enabled for terms in applied)
    assert file.policy().maximum_open_intents_per_user == 3


def test_policy_file__changed__the_line_says_who_and_shows_maps_by_their_keys(tmp_path: Path) -> None:
    path = _file(tmp_path, '[prices]\nUSDC = "1"')
    file = PolicyFile(BASE, NETWORK, path)
    _file(
        tmp_path,
        f"""
        changed_by = "alice, ticket 12"
        [prices]
        USDC = "1.5"
        [gas_prices]
        alpha = "2.5"
        [delegations]
        "service:shop" = ["{format_address(USER)}"]
        """,
    )
    with capture_logs() as logs:
        file.look()
        file.look()
    (line,) = logs
    assert line["changed_by"] == "alice, ticket 12"
    assert line["file_owner"] == path.owner()
    usdc = f"{ALPHA.chain_id}/{format_address(ALPHA.tokens['USDC'].address)}"
    assert line["changes"]["prices"][usdc] == {"before": "0.000001", "after": "0.0000015"}
    assert line["changes"]["gas_prices"] == {str(ALPHA.chain_id): {"before": "", "after": "0.0000025"}}
    assert line["changes"]["delegations"] == {"service:shop": {"before": "", "after": "0x" + USER.hex()}}


def test_policy_file__many_changes__the_line_stays_bounded(tmp_path: Path) -> None:
    file = PolicyFile(BASE, NETWORK, _file(tmp_path, NOTHING))
    lines = "\n".join(f'"service:shop{number}" = ["*"]' for number in range(500))
    _file(tmp_path, f"[delegations]\n{lines}")
    with capture_logs() as logs:
        file.look()
        file.look()
    assert len(logs[0]["changes"]["delegations"]) == 21
    assert logs[0]["changes"]["delegations"]["and more"] == 480
