"""Who submits, as the call itself shows it; nothing of it is taken from the message."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.rpc.rate_limits import counted_as

MAX_USER_AGENT_CHARACTERS = 256


@dataclass(frozen=True)
class Caller:
    """`address` is the first untrusted hop; empty where there is none."""

    principal: Principal
    address: str
    user_agent: str

    @cached_property
    def source(self) -> str:
        """What is stored as the origin of the intents."""
        return str(self.principal)

    @cached_property
    def counted_as(self) -> str:
        """Whose budgets are used up."""
        return counted_as(self.principal, self.address)

    @cached_property
    def key(self) -> str:
        """Whose request ids these are. Strangers are told apart by address, or anyone could use up another's ids."""
        if self.principal.kind is PrincipalKind.ANONYMOUS:
            return f"anonymous:{self.address}"
        return self.source


def user_agent_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The user agent, printable and bounded."""
    for key, value in metadata:
        if key == "user-agent" and isinstance(value, str):
            return _cleaned(value)
    return ""


# Callers are many, their programs few. What a stranger sends is at most as long as metadata may be.
@lru_cache(256)
def _cleaned(text: str) -> str:
    return "".join([char for char in text if char.isprintable()])[:MAX_USER_AGENT_CHARACTERS]
