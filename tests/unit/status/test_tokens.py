"""Resume tokens: what they carry survives, what is damaged or of another watch is refused by its reason."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.domain.errors import FailedPrecondition, InvalidArgument
from intentmesh.status.filters import WatchFilter
from intentmesh.status.tokens import ResumeToken
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.status_service_pb2 import WatchIntentsRequest

EPOCH = UUID(int=7)
FINGERPRINT = b"12345678"
TOKEN = ResumeToken(EPOCH, 42, FINGERPRINT)


@given(st.uuids(), st.integers(0, 2**63), st.binary(min_size=8, max_size=8))
def test_encode__any_token__is_decoded_as_it_was(epoch: UUID, position: int, fingerprint: bytes) -> None:
    token = ResumeToken(epoch, position, fingerprint)
    assert ResumeToken.decode(token.encode()) == token


@given(st.integers(0, 51), st.sampled_from("ABCxyz019-_"))
def test_decode__one_character_changed__is_refused(place: int, character: str) -> None:
    text = TOKEN.encode()
    damaged = text[:place] + character + text[place + 1 :]
    if damaged == text:
        return
    with pytest.raises(InvalidArgument) as refusal:
        ResumeToken.decode(damaged)
    assert refusal.value.reason == ErrorReason.ERROR_REASON_INVALID_RESUME_TOKEN


@given(st.text(max_size=100))
def test_decode__any_text__is_refused_as_a_token(text: str) -> None:
    with pytest.raises(InvalidArgument):
        ResumeToken.decode(text)


def test_check__another_filter_or_database__is_refused_by_its_reason() -> None:
    TOKEN.check(EPOCH, FINGERPRINT)
    with pytest.raises(InvalidArgument) as changed:
        TOKEN.check(EPOCH, b"another!")
    assert changed.value.reason == ErrorReason.ERROR_REASON_FILTER_CHANGED
    with pytest.raises(FailedPrecondition) as replaced:
        TOKEN.check(UUID(int=8), FINGERPRINT)
    assert replaced.value.reason == ErrorReason.ERROR_REASON_EPOCH_CHANGED


def test_fingerprint__same_conditions_otherwise_written__is_the_same() -> None:
    one = WatchIntentsRequest(intent_ids=["0x" + "ab" * 32, "0x" + "cd" * 32], user="0x" + "aA" * 20, statuses=[2, 1])
    other = WatchIntentsRequest(intent_ids=["0x" + "CD" * 32, "0x" + "ab" * 32], user="0x" + "Aa" * 20, statuses=[1, 2])
    assert WatchFilter.of(one).fingerprint() == WatchFilter.of(other).fingerprint()
    more = WatchIntentsRequest(intent_ids=other.intent_ids, user=other.user, statuses=[1])
    assert WatchFilter.of(more).fingerprint() != WatchFilter.of(one).fingerprint()
