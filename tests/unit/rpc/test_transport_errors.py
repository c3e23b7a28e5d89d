"""What a client makes of a status that no server of ours has sent."""

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from intentmesh.domain.errors import MeshError, Unavailable
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.v1.error_pb2 import ErrorReason


def _without_details(code: grpc.StatusCode, text: str) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details=text)


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN])
def test_from_rpc__internal_without_details__is_the_transport_and_worth_another_try(code: grpc.StatusCode) -> None:
    # What Envoy passes on when the service behind it is killed in the middle of a stream.
    error = mesh_error_from_rpc(_without_details(code, "Stream removed (RST_STREAM)"))
    assert isinstance(error, Unavailable)
    assert error.reason == ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE


def test_from_rpc__other_codes_without_details__stay_what_they_are() -> None:
    error = mesh_error_from_rpc(_without_details(grpc.StatusCode.UNIMPLEMENTED, "no such method"))
    assert not isinstance(error, Unavailable)
    assert isinstance(error, MeshError)
