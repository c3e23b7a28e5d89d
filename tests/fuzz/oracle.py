"""What may come back, whatever was sent. A rule that is broken has a name; the names are the findings' kinds.

- `bug-status`: a service answers INTERNAL or UNKNOWN, as a status or as the result of an item.
- `no-reason`: an error of a service without `google.rpc.ErrorInfo` of the domain "intentmesh" and a reason of the enum.
- `leak`: a message, a trailer or an answer shows an exception, a class, a statement or a path.
- `hang`: no end of a call that should have ended by itself.
- `damaged`: the status and its details disagree, or an answer is not the message it should be.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from intentmesh.rpc.errors import ERROR_DOMAIN, STATUS_DETAILS_KEY, reason_from_name
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import SubmitIntentsResponse, ValidateIntentResponse

from tests.fuzz.inputs import FuzzInput, Manner
from tests.fuzz.outcomes import HANG, NO_GRPC, OPEN, Outcome
from tests.fuzz.surface import Door, rpc_of

BUGS = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNIMPLEMENTED")
_BUG_CODES = (2, 12, 13, 15)
_NEVER_SAID = (ErrorReason.ERROR_REASON_UNSPECIFIED, ErrorReason.ERROR_REASON_INTERNAL)

_LEAKS = re.compile(
    rb"Traceback|File \"|, line \d+|\.py\b|site-packages|<class '|<function |object at 0x|NoneType|self\.|"
    rb"\b[A-Z][A-Za-z]*(?:Error|Exception)\b|asyncpg|redis\.|grpc\._|grpc\.aio|pydantic|web3\.|uvloop|"
    rb"invalid literal|codec can't|unexpected keyword|not supported between|out of range for|byte sequence for|"
    rb"violates |relation \"|column \"|syntax error|SELECT |INSERT |UPDATE |DELETE FROM|"
    rb"/usr/|/home/|/tmp/|/root/|/var/|/etc/|/opt/|postgres(?:ql)?://|redis://|keys/internal"
)
_REFLECTION = "/grpc.reflection."


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule. `detail` is for people; `key` is the same for what is most likely the same bug."""

    rule: str
    detail: str
    key: str


@dataclass(frozen=True, slots=True)
class Excuse:
    """An error of the transport, which no code of the mesh has a say in: its words, and what earns it."""

    words: re.Pattern[str]
    earned: Callable[[FuzzInput], bool]
    statuses: frozenset[str]

    def covers(self, one: FuzzInput, outcome: Outcome) -> bool:
        return outcome.status in self.statuses and bool(self.words.search(outcome.message)) and self.earned(one)


def _excuse(statuses: str, words: str, earned: Callable[[FuzzInput], bool]) -> Excuse:
    return Excuse(re.compile(words), earned, frozenset(statuses.split()))


def _by_hand(one: FuzzInput) -> bool:
    return one.manner is Manner.FRAMES


def _is_no_grpc(one: FuzzInput) -> bool:
    return any(key in (":method", "content-type") for key, _ in one.metadata)


def _is_infrastructure(one: FuzzInput) -> bool:
    return one.path.startswith(("/grpc.health.", "/grpc.reflection."))


_EXCUSES = (
    # The libraries answer these before any code of the mesh sees the call.
    _excuse("UNIMPLEMENTED", r"^(Method not found!?|)$", lambda one: rpc_of(one.path) is None or _by_hand(one)),
    _excuse(
        "RESOURCE_EXHAUSTED",
        r"[Rr]eceived message larger than max|^Decompressed message larger than max",
        lambda one: one.size >= 1_048_576 or _by_hand(one),
    ),
    _excuse("RESOURCE_EXHAUSTED", r"^$|metadata size exceeds", lambda one: one.doomed),
    _excuse("INTERNAL UNAVAILABLE", r"Stream removed|GOAWAY|Socket closed|Connection reset", lambda one: one.doomed),
    # By the protocol's own rules for frames and headers that break it.
    _excuse("INTERNAL", r"^Compression bit set|^Error parsing '|^Decompression failed", _by_hand),
    _excuse("UNKNOWN UNIMPLEMENTED INTERNAL", r"", _is_no_grpc),
    # The standard's answers, without details of ours.
    _excuse("NOT_FOUND UNIMPLEMENTED", r"", _is_infrastructure),
    # Cancelled or late by the caller's will.
    _excuse("CANCELLED", r"", lambda one: one.manner in (Manner.CANCELLED, Manner.OPEN_ENDED, Manner.FRAMES)),
    _excuse("DEADLINE_EXCEEDED", r"", lambda one: one.manner in (Manner.SHORT_DEADLINE, Manner.FRAMES)),
    # The caller's own library, when a call ends while it still writes: the server's status is lost to it.
    _excuse("INTERNAL", r"^Internal error from Core$", lambda one: one.manner is not Manner.FRAMES),
)


def judge(one: FuzzInput, outcome: Outcome) -> list[Violation]:
    """Every rule that the outcome breaks; none is the normal case."""
    if outcome.status == HANG:
        return [_violation(one, "hang", f"no end within {outcome.seconds:.0f} s")]
    found = _leaks(one, outcome)
    if outcome.status in (OPEN, NO_GRPC) or is_transport(one, outcome):
        return found
    return found + (_judge_answers(one, outcome) if outcome.status == "OK" else _judge_error(one, outcome))


def is_transport(one: FuzzInput, outcome: Outcome) -> bool:
    """An error that no code of the mesh has a say in, earned by what was sent."""
    return _details(outcome) is None and any(excuse.covers(one, outcome) for excuse in _EXCUSES)


def reason_of(outcome: Outcome) -> str:
    """The reason that an error carries; empty without one."""
    info = _error_info(_details(outcome))
    return info.reason if info is not None else ""


def _judge_error(one: FuzzInput, outcome: Outcome) -> list[Violation]:
    shown = f"{outcome.status}: {outcome.message[:300]!r}"
    if outcome.status in BUGS:
        return [_violation(one, "bug-status", shown, outcome.message)]
    details = _details(outcome)
    info = _error_info(details)
    if details is None or info is None:
        return [_violation(one, "no-reason", shown, outcome.message)]
    if info.domain != ERROR_DOMAIN or reason_from_name(info.reason) in _NEVER_SAID:
        return [_violation(one, "no-reason", f"{shown} with {info.domain}/{info.reason}", info.reason)]
    # At its own deadline a client may put its own words beside the details that the service sent in the same moment.
    own_words = one.manner is Manner.FRAMES or outcome.status == "DEADLINE_EXCEEDED"
    if details.message != outcome.message and not own_words:
        return [_violation(one, "damaged", f"{shown}, but its details say {details.message[:300]!r}")]
    return []


def _judge_answers(one: FuzzInput, outcome: Outcome) -> list[Violation]:
    rpc = rpc_of(one.path)
    # Reflection sends back what it was asked, unknown fields included, and that may be beyond what a parser follows.
    if rpc is None or one.manner is Manner.FRAMES or one.path.startswith(_REFLECTION):
        return []
    found = []
    for raw in outcome.responses:
        try:
            response = rpc.response.FromString(raw)
        except DecodeError:
            return [_violation(one, "damaged", f"the answer is no {rpc.response.DESCRIPTOR.name}")]
        if isinstance(response, SubmitIntentsResponse):
            for result in response.results:
                refused = result.refused
                if result.HasField("refused") and (refused.code in _BUG_CODES or refused.reason in _NEVER_SAID):
                    detail = (
                        f"an item was refused with code {refused.code}, reason {refused.reason}: {refused.message!r}"
                    )
                    found.append(_violation(one, "bug-status", detail, refused.message))
        elif isinstance(response, ValidateIntentResponse):
            for violation in response.violations:
                if violation.reason in _NEVER_SAID:
                    detail = f"a violation without a reason: {violation.field} {violation.message!r}"
                    found.append(_violation(one, "no-reason", detail, violation.message))
    return found


def _leaks(one: FuzzInput, outcome: Outcome) -> list[Violation]:
    if one.manner is Manner.BARE or (one.path.startswith(_REFLECTION) and outcome.status in ("OK", OPEN, NO_GRPC)):
        return []
    texts = [outcome.message.encode(), *outcome.responses]
    texts += [value.encode() if isinstance(value, str) else value for _, value in outcome.trailers]
    for text in texts:
        for match in _LEAKS.finditer(text):
            if any(match.group() in sent for sent in _sent(one)):
                # The caller's own words may come back to it.
                continue
            around = text[max(0, match.start() - 80) : match.end() + 80].decode("utf-8", "replace")
            return [_violation(one, "leak", f"{outcome.status}: …{around!r}…", match.group().decode())]
    return []


def _sent(one: FuzzInput) -> list[bytes]:
    values = [value.encode() if isinstance(value, str) else value for _, value in one.metadata]
    return [*one.messages, one.body, one.path.encode(), *values]


def _details(outcome: Outcome) -> status_pb2.Status | None:
    for key, value in outcome.trailers:
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _error_info(details: status_pb2.Status | None) -> error_details_pb2.ErrorInfo | None:
    info = error_details_pb2.ErrorInfo()
    for detail in details.details if details is not None else ():
        if detail.Unpack(info):
            return info
    return None


def _violation(one: FuzzInput, rule: str, detail: str, text: str = "") -> Violation:
    words = f"{one.manner.value} " + re.sub(r"\d+|0x[0-9a-fA-F]+|'[^']*'", "#", text)[:60]
    path = one.path if rpc_of(one.path) is not None else "(no rpc)"
    via = "gateway" if one.door is Door.GATEWAY else "direct"
    return Violation(rule, detail, f"{rule} {path} {via} {words}")
