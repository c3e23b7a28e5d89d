"""Who calls. Nothing a caller says about itself is believed unless a configured party vouches for it.

Three can vouch: a service of the mesh, which shows the internal token; (only where configured) the gateway, known by
its network, which authenticates callers and must drop these headers from what it receives; and the authority that has
signed the certificate which the caller shows.
"""

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote

PRINCIPAL_HEADER = "x-intentmesh-principal"
TOKEN_HEADER = "x-intentmesh-token"  # noqa: S105 (a header's name)
FORWARDED_HEADER = "x-forwarded-for"

# gRPC's name of a certificate's common name in the properties of a connection.
_COMMON_NAME = "x509_common_name"

# Texts of peers, hops and principals that are kept, since most calls come by connections and from callers seen before.
_KEPT = 4_096
# With brackets, a zone and a port.
_LONGEST_ADDRESS = 128
_HOP = re.compile(r"\[(?P<bracketed>[^\]]+)\](?::\d{1,5})?|(?P<plain>[^:]+)(?::\d{1,5})?|(?P<colons>.+)")

Metadata = Iterable[tuple[str, str | bytes]]
Authentication = Mapping[str, Iterable[bytes]]
"""gRPC's properties of a connection whose peer has shown a certificate."""


class PrincipalKind(StrEnum):
    """Classes of callers."""

    ANONYMOUS = "anonymous"
    USER = "user"
    SERVICE = "service"
    SOLVER = "solver"
    EXECUTOR = "executor"
    ATTESTER = "attester"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `name` is empty only for anonymous ones; a user's name is its address in lower case."""

    kind: PrincipalKind
    name: str = ""

    def __str__(self) -> str:
        """`kind:name`, the form of the header; "anonymous" alone for those."""
        return f"{self.kind}:{self.name}" if self.name else str(self.kind)

    @classmethod
    def parse(cls, text: str) -> "Principal":
        """Inverse of `str`. Raises ValueError."""
        kind, _, name = text.partition(":")
        # One user is one principal, with one budget, however its address is written.
        principal = cls(PrincipalKind(kind), name.lower() if kind == PrincipalKind.USER else name)
        if (principal.kind is PrincipalKind.ANONYMOUS) == bool(name) or not name.isprintable() or len(name) > 128:
            raise ValueError(f"not a principal: {text[:64]!r}")
        return principal


ANONYMOUS = Principal(PrincipalKind.ANONYMOUS)
_principal: ContextVar[Principal] = ContextVar("principal", default=ANONYMOUS)
_client_address: ContextVar[str] = ContextVar("client_address", default="")


def current_principal() -> Principal:
    """The caller of the call in hand; anonymous outside of one."""
    return _principal.get()


def client_address() -> str:
    """IP address of the first hop that is no trusted proxy; empty where there is none (no call, a Unix socket)."""
    return _client_address.get()


def bind_caller(principal: Principal, address: str) -> None:
    """Set what the two functions above return in the current task. For the interceptor, and for tests of handlers."""
    _principal.set(principal)
    _client_address.set(address)


class CallerResolver:
    """Decides who calls, from the peer's socket and the call's metadata."""

    def __init__(
        self,
        trusted_proxies: Sequence[str],
        internal_token: str,
        *,
        trust_proxy_principals: bool,
        trust_certificates: bool = False,
    ) -> None:
        self._proxies = [ip_network(network, strict=False) for network in trusted_proxies]
        self._token = internal_token.encode()
        self._trust_proxy_principals = trust_proxy_principals
        self.trust_certificates = trust_certificates

    def resolve(self, peer: str, metadata: Metadata, certified: Authentication | None = None) -> tuple[Principal, str]:
        """Principal and client address of a call. `peer` is gRPC's text, e.g. "ipv4:127.0.0.1:5000"; never raises.

        `certified` is what the handshake has proven, for callers that came through one.
        """
        sent = list(metadata)
        address = peer_address(peer)
        from_proxy = address is not None and self._is_proxy(address)
        vouched = self._shows_token(sent) or (from_proxy and self._trust_proxy_principals)
        hop = self._first_untrusted(address, sent) if from_proxy else address
        if vouched:
            principal = _principal_in(sent)
        else:
            principal = _principal_of(certified) if certified and self.trust_certificates else ANONYMOUS
        return principal, str(hop) if hop is not None else ""

    def _shows_token(self, metadata: Metadata) -> bool:
        if not self._token:
            return False
        shown = [value for key, value in metadata if key == TOKEN_HEADER]
        return len(shown) == 1 and hmac.compare_digest(_as_bytes(shown[0]), self._token)

    def _first_untrusted(
        self, peer: IPv4Address | IPv6Address | None, metadata: Metadata
    ) -> IPv4Address | IPv6Address | None:
        """From the nearest hop on: each is vouched for by the one after it, so the first stranger is the caller."""
        hops = [
            hop
            for key, value in metadata
            if key == FORWARDED_HEADER and isinstance(value, str)
            for hop in value.split(",")
        ]
        nearest = peer
        for hop in reversed(hops):
            parsed = _parse_hop(hop.strip())
            if parsed is None:
                return nearest
            nearest = parsed
            if not self._is_proxy(parsed):
                return parsed
        return nearest

    def _is_proxy(self, address: IPv4Address | IPv6Address) -> bool:
        return any(_within(address, network) for network in self._proxies)


@lru_cache(_KEPT)
def peer_address(peer: str) -> IPv4Address | IPv6Address | None:
    """The IP address of a gRPC peer text; None for Unix sockets and what cannot be read."""
    family, _, rest = unquote(peer).partition(":")
    if family not in ("ipv4", "ipv6"):
        return None
    return _parse_hop(rest.rpartition(":")[0])


def _parse_hop(text: str) -> IPv4Address | IPv6Address | None:
    # Anybody sends hops, and what is remembered of them has to stay small.
    return _parse_address(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(_KEPT)
def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    # Some proxies write the port as well.
    form = _HOP.fullmatch(text)
    if form is None:
        return None
    try:
        address = ip_address((form["bracketed"] or form["plain"] or form["colons"]).partition("%")[0])
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 callers as ::ffff:a.b.c.d; limits and lists must see one address, not two.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _within(address: IPv4Address | IPv6Address, network: IPv4Network | IPv6Network) -> bool:
    return address.version == network.version and address in network


def _principal_in(metadata: Metadata) -> Principal:
    sent = [value for key, value in metadata if key == PRINCIPAL_HEADER]
    if len(sent) != 1 or not isinstance(sent[0], str):
        return ANONYMOUS
    try:
        return _parsed(sent[0])
    except ValueError:
        return ANONYMOUS


@lru_cache(_KEPT)
def _parsed(text: str) -> Principal:
    return Principal.parse(text)


def _principal_of(certified: Authentication) -> Principal:
    try:
        (name,) = certified.get(_COMMON_NAME, ())
        return Principal.parse(name.decode())
    except ValueError:
        return ANONYMOUS


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
