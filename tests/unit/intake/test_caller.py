"""What is stored of a caller is readable and bounded, whatever the caller sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.intake.caller import MAX_USER_AGENT_CHARACTERS, Caller, user_agent_of
from intentmesh.rpc.principals import ANONYMOUS, Principal, PrincipalKind


@given(st.text())
def test_user_agent__any_text__is_printable_and_bounded(text: str) -> None:
    found = user_agent_of([("user-agent", text)])
    assert len(found) <= MAX_USER_AGENT_CHARACTERS
    assert found.isprintable()


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200f", "\x00", "\x1b", "\n", "\u2028", "\ud800"], ids=ascii)
def test_user_agent__control_and_bidi_characters__are_left_out(mark: str) -> None:
    assert user_agent_of([("user-agent", f"shop{mark}/1")]) == "shop/1"


def test_user_agent__absent_or_of_bytes__is_empty() -> None:
    assert user_agent_of([("other", "x")]) == ""
    assert user_agent_of([("user-agent", b"x")]) == ""


def test_caller__strangers_of_two_addresses__have_request_ids_of_their_own() -> None:
    one, two = Caller(ANONYMOUS, "192.0.2.1", ""), Caller(ANONYMOUS, "192.0.2.2", "")
    assert one.key != two.key
    assert one.source == two.source == "anonymous"
    shop = Principal(PrincipalKind.SERVICE, "shop")
    assert Caller(shop, "192.0.2.1", "").key == Caller(shop, "192.0.2.2", "").key == "service:shop"
