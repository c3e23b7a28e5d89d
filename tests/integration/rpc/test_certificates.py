"""Callers who show a certificate are who its common name says, whatever else they claim; nobody else gets in there."""

from pathlib import Path

import grpc
import pytest
import trustme
from intentmesh.domain.errors import Unavailable
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.principals import PRINCIPAL_HEADER
from intentmesh.rpc.server import Running
from intentmesh.rpc.settings import ServiceSettings as Settings
from intentmesh.rpc.settings import SettingsError, load_settings
from intentmesh.v1.status_service_pb2_grpc import StatusServiceStub
from structlog.testing import capture_logs

from tests.integration.rpc.serving import status_server
from tests.integration.rpc.test_callers import ASK, OPERATOR, TOKEN, TOKEN_HEADER, Mirror

MESH = trustme.CA()
STRANGER = trustme.CA()


def _files(folder: Path) -> dict[str, object]:
    _write(folder, MESH)
    return {
        "tls_listen": "127.0.0.1:0",
        "tls_key": folder / "key.pem",
        "tls_certificate": folder / "certificate.pem",
        "tls_client_authority": folder / "authority.pem",
    }


def _write(folder: Path, authority: trustme.CA) -> None:
    own = authority.issue_cert("localhost")
    own.private_key_pem.write_to_path(folder / "key.pem")
    own.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")


async def _seen(folder: Path, shown: trustme.LeafCert | None, metadata=(), **settings: object) -> str:
    """The principal as which the server takes the caller."""
    async with status_server(Mirror(), **_files(folder), **settings) as running:
        return await _seen_by(running, shown, metadata)


async def _seen_by(running: Running, shown: trustme.LeafCert | None, metadata=(), authority: trustme.CA = MESH) -> str:
    """The same by a connection of its own. Raises Unavailable unless each side trusts the other."""
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        shown.private_key_pem.bytes() if shown else None,
        shown.cert_chain_pems[0].bytes() if shown else None,
    )
    options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(running.tls_target, credentials, options=options) as channel:
        try:
            answer = await StatusServiceStub(channel).GetIntentStatus(ASK, metadata=metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            raise mesh_error_from_rpc(error) from None
    return str(answer.message.split(" ")[0])


def _named(name: str, authority: trustme.CA = MESH) -> trustme.LeafCert:
    return authority.issue_cert("client.test", common_name=name)


@pytest.mark.parametrize("name", ["service:shop", "user:0x" + "ab" * 20])
async def test_certificate__of_the_authority__names_the_caller(tmp_path: Path, name: str) -> None:
    assert await _seen(tmp_path, _named(name)) == name


async def test_certificate__other_claims_in_headers__change_nothing(tmp_path: Path) -> None:
    assert await _seen(tmp_path, _named("service:shop"), (OPERATOR,)) == "service:shop"
    wrong = (OPERATOR, (TOKEN_HEADER, "wrong"))
    assert await _seen(tmp_path, _named("service:shop"), wrong, internal_token=TOKEN) == "service:shop"


@pytest.mark.parametrize("name", ["shop", "root:me", "anonymous", "service:"])
async def test_certificate__whose_name_is_no_principal__is_anonymous(tmp_path: Path, name: str) -> None:
    assert await _seen(tmp_path, _named(name)) == "anonymous"


@pytest.mark.parametrize("shown", [None, _named("operator:mallory", STRANGER)], ids=["none", "a stranger's"])
async def test_certificate__none_or_of_another_authority__does_not_get_in(
    tmp_path: Path, shown: trustme.LeafCert | None
) -> None:
    with pytest.raises(Unavailable):
        await _seen(tmp_path, shown)


async def test_certificate__on_the_plain_address__there_is_none(tmp_path: Path) -> None:
    async with (
        status_server(Mirror(), **_files(tmp_path)) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        answer = await StatusServiceStub(channel).GetIntentStatus(ASK, metadata=((PRINCIPAL_HEADER, "service:shop"),))
    assert answer.message.split(" ")[0] == "anonymous"


async def test_files__renewed__hold_for_whoever_connects_from_then_on(tmp_path: Path) -> None:
    ours, theirs = _named("service:shop"), _named("service:other", STRANGER)
    async with status_server(Mirror(), **_files(tmp_path)) as running:
        assert await _seen_by(running, ours) == "service:shop"
        _write(tmp_path, STRANGER)
        assert await _seen_by(running, theirs, authority=STRANGER) == "service:other"
        with pytest.raises(Unavailable):
            await _seen_by(running, ours)


@pytest.mark.parametrize("name", ["key.pem", "certificate.pem", "authority.pem"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\n"], ids=["gone", "empty", "cut off"])
async def test_files__renewed_by_halves_or_broken__leave_what_there_was(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    async with status_server(Mirror(), **_files(tmp_path)) as running:
        whole = (tmp_path / name).read_bytes()
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
        assert await _seen_by(running, _named("service:shop")) == "service:shop"
        (tmp_path / name).write_bytes(whole)
        assert await _seen_by(running, _named("service:shop")) == "service:shop"


async def test_files__key_of_another_certificate__leaves_what_there_was(tmp_path: Path) -> None:
    async with status_server(Mirror(), **_files(tmp_path)) as running:
        MESH.issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "key.pem")
        assert await _seen_by(running, _named("service:shop")) == "service:shop"


@pytest.mark.parametrize("name", ["key.pem", "certificate.pem", "authority.pem"])
async def test_settings__file_that_is_no_pem__is_named(tmp_path: Path, name: str) -> None:
    files = _files(tmp_path)
    (tmp_path / name).write_bytes(b"no PEM")
    with pytest.raises(SettingsError, match="tls_listen"):
        async with status_server(Mirror(), **files):
            pass


def test_settings__tls_without_its_files__are_wrong(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tls_client_authority"):
        load_settings(Settings, **(_files(tmp_path) | {"tls_client_authority": None}))


async def test_settings__file_that_is_not_there__is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.pem"):
        async with status_server(Mirror(), **(_files(tmp_path) | {"tls_key": tmp_path / "gone.pem"})):
            pass


async def test_files__broken__are_told_of_once_until_they_change(tmp_path: Path) -> None:
    ours = _named("service:shop")
    async with status_server(Mirror(), **_files(tmp_path)) as running:
        with capture_logs() as logs:
            (tmp_path / "key.pem").write_bytes(b"")
            for _ in range(3):
                await _seen_by(running, ours)
            (tmp_path / "key.pem").unlink()
            for _ in range(3):
                await _seen_by(running, ours)
            _write(tmp_path, MESH)
            await _seen_by(running, ours)
            (tmp_path / "key.pem").write_bytes(b"")
            await _seen_by(running, ours)
    told = [line["event"] for line in logs if line["event"].startswith("certificate_")]
    assert told == [
        "certificate_not_renewed",
        "certificate_not_renewed",
        "certificate_renewed",
        "certificate_not_renewed",
    ]
