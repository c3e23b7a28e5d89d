"""W3C trace context: taken from the caller or made here, bound to the call, carried on by every channel."""

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar

TRACEPARENT = "traceparent"
_FORM = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$")
_trace_id: ContextVar[str] = ContextVar("trace_id", default="")


def current_trace_id() -> str:
    """32 hex digits; empty outside of a call and of `start_trace`."""
    return _trace_id.get()


def start_trace(trace_id: str = "") -> str:
    """Bind a trace id (a new one when empty) to the current task and what it starts; returns it."""
    chosen = trace_id or secrets.token_hex(16)
    _trace_id.set(chosen)
    return chosen


def trace_id_from(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The caller's trace id, or "" when it sent none or one that is malformed or all zero (invalid by the standard)."""
    for key, value in metadata:
        if key == TRACEPARENT and isinstance(value, str) and (match := _FORM.match(value)):
            trace_id, span_id = match.group(1), match.group(2)
            if value[:2] != "ff" and int(trace_id, 16) and int(span_id, 16):
                return trace_id
    return ""


def traceparent() -> str:
    """Header for an outgoing call: the current trace (or a new one) with a span of its own."""
    return f"00-{current_trace_id() or secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
