"""Fills `deploy/envoy/envoy.yaml`, the one gateway configuration, for this machine or for a cluster.

`python -m intentmesh.embedded.gateway_config VALUES.toml` prints it filled with the values of a file, which is how the
ConfigMap for Kubernetes is made.
"""

import json
import string
import sys
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from intentmesh.embedded.errors import InvalidConfigurationError
from intentmesh.embedded.gateway_refusals import REFUSALS
from intentmesh.embedded.programs import REPOSITORY

DEFAULT_TEMPLATE = REPOSITORY / "deploy" / "envoy" / "envoy.yaml"
LOOPBACK_ORIGINS = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
# The token bucket is filled ten times a second.
FILLS_PER_S = 10
# The claim that names the principal, "service:shop", and the header by which services hear of it.
PRINCIPAL_CLAIM = "principal"
PRINCIPAL_HEADER = "x-intentmesh-principal"


class PublicService(StrEnum):
    """The services that have routes in the gateway."""

    INTAKE = "intake"
    SOLVER_REGISTRY = "solver_registry"
    EXECUTOR = "executor"
    STATUS = "status"


class Endpoint(BaseModel):
    """Where replicas of a service answer: an address, or a name that resolves to one address per replica."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(pattern=r"^[A-Za-z0-9.:_-]+$")
    port: int = Field(ge=1, le=65535)

    @classmethod
    def parse(cls, address: str) -> "Endpoint":
        """From "host:port"."""
        host, _, port = address.rpartition(":")
        return cls(host=host, port=int(port))


class GatewayConfig(BaseModel):
    """Everything that differs between two gateways. Ports 0 are not allowed: Envoy is told where to listen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstreams: Mapping[PublicService, tuple[Endpoint, ...]]
    listen_address: str = Field(default="127.0.0.1", pattern=r"^[0-9a-fA-F.:]+$")
    listen_port: int = Field(ge=1, le=65535)
    # The admin interface always listens on 127.0.0.1.
    admin_port: int = Field(ge=1, le=65535)
    metrics_address: str = Field(default="127.0.0.1", pattern=r"^[0-9a-fA-F.:]+$")
    metrics_port: int = Field(ge=1, le=65535)
    # How many proxies of our own stand in front and append to x-forwarded-for.
    trusted_hops: int = Field(default=0, ge=0, le=10)
    # A whole origin of a browser must match (RE2).
    cors_origin_regex: str = Field(default=LOOPBACK_ORIGINS, pattern=r"^[^'\n]+$")
    requests_per_second: int = Field(default=10_000, ge=FILLS_PER_S)
    burst_requests: int = Field(default=20_000, ge=1)
    max_connections: int = Field(default=20_000, ge=1)
    max_streams_per_connection: int = Field(default=1_024, ge=1)
    max_requests_per_service: int = Field(default=100_000, ge=1)

    # Whose tokens (JWT) are believed, for whom they must be made, and a file with the issuer's public keys (JWKS) where
    # the gateway runs. None: nobody's, and all callers are strangers.
    token_issuer: str | None = Field(default=None, min_length=1)
    token_audiences: tuple[str, ...] = ()
    token_keys_file: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _tokens_are_whole(self) -> Self:
        if self.token_issuer is not None and not (self.token_audiences and self.token_keys_file):
            raise ValueError("token_issuer needs token_audiences and token_keys_file")
        return self

    def render(self, template: Path = DEFAULT_TEMPLATE) -> str:
        """The whole configuration of Envoy, in YAML.

        Raises InvalidConfigurationError when a service has no endpoint or the template names an unknown value.
        """
        tokens = {"token_issuer", "token_audiences", "token_keys_file"}
        values: dict[str, object] = self.model_dump(exclude={"upstreams", "requests_per_second", *tokens})
        values["tokens_per_fill"] = self.requests_per_second // FILLS_PER_S
        providers, rules = self._tokens()
        values |= {"token_providers": json.dumps(providers), "token_rules": json.dumps(rules)}
        for service in PublicService:
            endpoints = self.upstreams.get(service, ())
            if not endpoints:
                raise InvalidConfigurationError(f"the gateway was given no endpoint of {service.value}")
            values[f"{service.value}_endpoints"] = json.dumps([_as_envoy_has_it(endpoint) for endpoint in endpoints])
        for refusal in REFUSALS:
            values |= refusal.template_values()
        try:
            return string.Template(template.read_text(encoding="utf-8")).substitute(values)
        except (OSError, KeyError, ValueError) as error:
            raise InvalidConfigurationError(f"{template} cannot be filled: {error!r}") from error

    def _tokens(self) -> tuple[dict[str, object], list[object]]:
        """Envoy's providers of tokens, and its rules for them."""
        if self.token_issuer is None:
            return {}, []
        provider = {
            "issuer": self.token_issuer,
            "audiences": list(self.token_audiences),
            "local_jwks": {"filename": self.token_keys_file},
            "require_expiration": True,
            "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
            "forward": False,
            "claim_to_headers": [{"header_name": PRINCIPAL_HEADER, "claim_name": PRINCIPAL_CLAIM}],
        }
        wanted = {"requires_any": {"requirements": [{"provider_name": "issuer"}, {"allow_missing": {}}]}}
        return {"issuer": provider}, [{"match": {"prefix": "/"}, "requires": wanted}]


def _as_envoy_has_it(endpoint: Endpoint) -> dict[str, object]:
    return {"endpoint": {"address": {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}}}


def main(arguments: list[str]) -> int:
    """Print the configuration for the values in a TOML file; its keys are the fields of GatewayConfig."""
    if len(arguments) != 1:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    values = tomllib.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    sys.stdout.write(GatewayConfig.model_validate(values).render())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
