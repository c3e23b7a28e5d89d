"""Who submits, as the call itself shows it; nothing of it is taken from the message."""

from collections.abc import Iterable
from dataclasses import dataclass

from intentmesh.rpc.principals import Principal, PrincipalKind

MAX_USER_AGENT_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """`address` is the first untrusted hop; empty where there is none."""

    principal: Principal
    address: str
    user_agent: str

    @property
    def key(self) -> str:
        """Whose request ids these are. Strangers are told apart by address, or anyone could use up another's ids."""
        if self.principal.kind is PrincipalKind.ANONYMOUS:
            return f"anonymous:{self.address}"
        return str(self.principal)


def user_agent_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The user agent, printable and bounded."""
    for key, value in metadata:
        if key == "user-agent" and isinstance(value, str):
            return "".join(char for char in value if char.isprintable())[:MAX_USER_AGENT_CHARACTERS]
    return ""
