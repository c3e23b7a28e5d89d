"""Settings of a service: environment first, then the file named by INTENTMESH_CONFIG_FILE, then defaults.

Every field `name` is read from `INTENTMESH_NAME`; a secret may instead stand in a file named by `INTENTMESH_NAME_FILE`
(or `name_file` in the TOML file), which is how containers hand secrets over.
"""

import os
import random
import sys
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

ENV_PREFIX = "INTENTMESH_"
CONFIG_FILE_VARIABLE = ENV_PREFIX + "CONFIG_FILE"
EXIT_WRONG_SETTING = 78
"""EX_CONFIG of sysexits.h: restarting does not help, somebody has to change the configuration."""


def _split_commas(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        ip_network(network, strict=False)
    return value


def _host_and_port(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isdigit() and int(port) <= 65_535):
        raise ValueError("expected HOST:PORT, for instance 0.0.0.0:50051 (port 0 takes a free one)")
    return value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
"""A list that the environment gives as `a,b,c`."""

HostAndPort = Annotated[str, AfterValidator(_host_and_port)]


class ServiceSettings(BaseSettings):
    """What every service can be told. A service subclasses this in its own `settings.py`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    listen: HostAndPort = "0.0.0.0:50051"
    metrics_listen: HostAndPort = "0.0.0.0:9090"
    log_level: str = Field("info", pattern="^(debug|info|warning|error|critical)$")
    grace_seconds: float = Field(20.0, gt=0)
    """How long calls in flight may finish after SIGTERM."""
    max_call_seconds: float = Field(60.0, gt=0)
    """Deadline of a unary call that brings none."""
    max_request_bytes: int = Field(1_048_576, gt=0)
    """Of each message, uncompressed."""
    max_connection_age_seconds: float = Field(300.0, gt=0)
    """Clients reconnect about this often, so that they find new replicas."""
    reuse_port: bool = False
    """Several processes share one port (workers). Off, a port in use is an error instead of a silent share."""
    health_interval_seconds: float = Field(2.0, gt=0)

    trusted_proxies: Annotated[CommaSeparated, AfterValidator(_networks)] = ()
    """Networks whose x-forwarded-for is believed."""
    trust_proxy_principals: bool = False
    """Believe x-intentmesh-principal of a trusted proxy. Only for a gateway that authenticates and sets it itself."""
    internal_token: str = Field("", repr=False)
    """Shared by the services: who sends it may say who they are. Empty: nobody can."""

    tls_listen: HostAndPort | None = None
    """A second address, for callers who show a certificate of `tls_client_authority`; its common name is the principal
    (`service:shop`). Needs all three files, in PEM; when they are renewed, new connections go by the new ones."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_authority: Path | None = None

    postgres_dsn: str = Field("", repr=False)
    valkey_url: str = Field("", repr=False)

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        files = (self.tls_certificate, self.tls_key, self.tls_client_authority)
        if self.tls_listen is not None and None in files:
            raise ValueError("tls_listen needs tls_certificate, tls_key and tls_client_authority")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the signature is the library's)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (as above)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence, highest first."""
        return (init_settings, env_settings, _FileReferences(settings_cls), _ConfigFile(settings_cls))

    def connection_age_ms(self) -> int:
        """Milliseconds, ±10 %: replicas started together must not lose their clients together."""
        return int(self.max_connection_age_seconds * 1000 * random.uniform(0.9, 1.1))  # noqa: S311 (not a secret)


class _FileReferences(PydanticBaseSettingsSource):
    """`INTENTMESH_POSTGRES_DSN_FILE=/run/secrets/dsn` sets `postgres_dsn` to that file's content."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 (as above)
        path = os.environ.get(f"{ENV_PREFIX}{field_name}_file".upper())
        return (_read(Path(path)) if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        values = {name: self.get_field_value(field, name)[0] for name, field in fields.items()}
        return {name: value for name, value in values.items() if value is not None}


class _ConfigFile(PydanticBaseSettingsSource):
    """The TOML file; a key the service does not know is an error, since it is most likely a typing mistake."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        # Abstract in pydantic, which calls it only from sources that use its own `__call__`.
        raise NotImplementedError("the file is read as a whole")

    def __call__(self) -> dict[str, Any]:
        path = os.environ.get(CONFIG_FILE_VARIABLE)
        if not path:
            return {}
        try:
            values = tomllib.loads(_read(Path(path)))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path} is not valid TOML: {error}") from error
        fields = self.settings_cls.model_fields
        for key in [key for key in values if key.endswith("_file") and key not in fields and key[:-5] in fields]:
            values[key[:-5]] = _read(Path(values.pop(key)))
        return values


class SettingsError(Exception):
    """A setting is wrong; the message is for the person who starts the service."""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error


S = TypeVar("S", bound=ServiceSettings)


def load_settings(kind: type[S], **overrides: Any) -> S:
    """Read the settings of one service. Raises SettingsError, whose message is one line and holds no secret."""
    try:
        return kind(**overrides)
    except ValidationError as error:
        parts = [f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors(include_input=False)]
        raise SettingsError("; ".join(parts)) from None


def exit_for_wrong_setting(error: Exception) -> NoReturn:
    """Say what is wrong in one line and end the process with the code that says so."""
    sys.stderr.write(f"wrong setting: {' '.join(str(error).split())}\n")
    sys.exit(EXIT_WRONG_SETTING)
