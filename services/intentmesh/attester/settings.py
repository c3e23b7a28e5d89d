"""What an attester can be told. Key, network file, endpoints and database are its own, shared with no other service."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from intentmesh.rpc.principals import PrincipalKind
from intentmesh.rpc.settings import CommaSeparated, ServiceSettings


def _kinds(value: tuple[str, ...]) -> tuple[str, ...]:
    for kind in value:
        PrincipalKind(kind)
    return value


class AttesterSettings(ServiceSettings):
    """`postgres_dsn` is the journal's."""

    network_file: Path
    """The chains as this attester sees them: its own endpoints and confirmations."""
    key: str = Field(pattern="^(env:|file:)")
    """Where its private key is: env:NAME or file:PATH."""
    allowed_callers: Annotated[CommaSeparated, AfterValidator(_kinds)] = (
        PrincipalKind.EXECUTOR,
        PrincipalKind.OPERATOR,
    )
    """Classes of principals that are served; `anonymous` serves everybody."""
