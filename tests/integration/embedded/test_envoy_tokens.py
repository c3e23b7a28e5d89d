"""The gateway tells services who calls, when a token of the configured issuer says so, and at no other time."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.integration.embedded.test_envoy import GET_STATUS, Mesh, running_mesh

ISSUER, AUDIENCE, KEY = "https://issuer.test", "intentmesh", b"a key that the issuer has and the gateway knows"
PRINCIPAL = "seen-x-intentmesh-principal"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token(key: bytes = KEY, algorithm: str = "HS256", **claims: Any) -> tuple[str, str]:
    """The header of a caller with a token; None leaves a claim out."""
    usual = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 300, "principal": "service:shop"}
    content = {name: value for name, value in (usual | claims).items() if value is not None}
    parts = [_encoded(json.dumps(part).encode()) for part in ({"alg": algorithm, "kid": "one"}, content)]
    signature = hmac.digest(key, ".".join(parts).encode(), "sha256") if algorithm != "none" else b""
    return "authorization", f"Bearer {'.'.join([*parts, _encoded(signature)])}"


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "kid": "one", "k": _encoded(KEY)}]}))
    settings = {"token_issuer": ISSUER, "token_audiences": (AUDIENCE,), "token_keys_file": str(keys)}
    async with running_mesh(tmp_path, **settings) as running:
        yield running


async def test_token__that_holds__names_the_caller_and_goes_no_further(mesh: Mesh) -> None:
    seen = await mesh.call(GET_STATUS, b"x", token())
    assert seen[PRINCIPAL] == "service:shop"
    assert "seen-authorization" not in seen
    # What the caller says of itself beside it is gone.
    seen = await mesh.call(GET_STATUS, b"x", ("x-intentmesh-principal", "operator:mallory"), token())
    assert seen[PRINCIPAL] == "service:shop"


async def test_token__none__is_a_stranger(mesh: Mesh) -> None:
    assert PRINCIPAL not in await mesh.call(GET_STATUS)
    assert PRINCIPAL not in await mesh.call(GET_STATUS, b"x", ("x-intentmesh-principal", "operator:mallory"))


async def test_token__without_a_principal__is_a_stranger(mesh: Mesh) -> None:
    assert PRINCIPAL not in await mesh.call(GET_STATUS, b"x", token(principal=None))


@pytest.mark.parametrize(
    "sent",
    [
        token(key=b"another key that nobody has told the gateway of"),
        token(algorithm="none"),
        token(exp=1_700_000_000),
        token(exp=None),
        token(iss="https://elsewhere.test"),
        token(aud="another"),
        ("authorization", "Bearer nonsense"),
    ],
    ids=["another key", "no signature", "expired", "for ever", "another issuer", "another audience", "no token"],
)
async def test_token__that_does_not_hold__is_refused(mesh: Mesh, sent: tuple[str, str]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.call(GET_STATUS, b"x", sent)
    status = rpc_status.from_call(caught.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (caught.value.code(), info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


async def test_token__where_no_issuer_is_configured__says_nothing(tmp_path: Path) -> None:
    async with running_mesh(tmp_path) as mesh:
        assert PRINCIPAL not in await mesh.call(GET_STATUS, b"x", token())
