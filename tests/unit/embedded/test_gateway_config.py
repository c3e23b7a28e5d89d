"""The gateway's configuration, filled in: what is asked for is in it, and nothing that is not valid gets that far."""

import base64
from pathlib import Path

import pytest
import yaml
from google.rpc import error_details_pb2, status_pb2
from intentmesh.embedded.errors import InvalidConfigurationError
from intentmesh.embedded.gateway_config import Endpoint, GatewayConfig, PublicService
from intentmesh.embedded.gateway_refusals import REFUSALS, Refusal
from pydantic import ValidationError

REPLICAS = (Endpoint(host="10.0.0.1", port=1001), Endpoint(host="10.0.0.2", port=1002))


def config(**values: object) -> GatewayConfig:
    upstreams = dict.fromkeys(PublicService, REPLICAS)
    defaults = {"upstreams": upstreams, "listen_port": 8080, "admin_port": 9901, "metrics_port": 9902}
    return GatewayConfig.model_validate({**defaults, **values})


def test_render__of_replicas__gives_each_cluster_all_of_them() -> None:
    clusters = {
        cluster["name"]: cluster for cluster in yaml.safe_load(config().render())["static_resources"]["clusters"]
    }
    for service in PublicService:
        endpoints = clusters[service.value]["load_assignment"]["endpoints"][0]["lb_endpoints"]
        addresses = [endpoint["endpoint"]["address"]["socket_address"] for endpoint in endpoints]
        assert addresses == [{"address": "10.0.0.1", "port_value": 1001}, {"address": "10.0.0.2", "port_value": 1002}]


def test_render__for_any_listener__keeps_admin_on_loopback() -> None:
    rendered = yaml.safe_load(config(listen_address="10.1.2.3", metrics_address="10.1.2.3").render())
    assert rendered["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_render__without_endpoints_of_a_service__is_refused() -> None:
    with pytest.raises(InvalidConfigurationError, match="executor"):
        config(upstreams={service: REPLICAS for service in PublicService if service != "executor"}).render()


def test_render__of_a_template_with_an_unknown_value__is_refused(tmp_path: Path) -> None:
    template = tmp_path / "envoy.yaml"
    template.write_text("port: ${no_such_value}")
    with pytest.raises(InvalidConfigurationError, match="no_such_value"):
        config().render(template)


@pytest.mark.parametrize(
    "values",
    [{"cors_origin_regex": "'}]\nadmin: {}"}, {"listen_address": "0.0.0.0, x: y"}, {"listen_port": 0}, {"typo": 1}],
)
def test_config__with_values_that_could_break_out__is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        config(**values)


def test_endpoint__from_an_address__is_host_and_port() -> None:
    assert Endpoint.parse("intake-headless:50051") == Endpoint(host="intake-headless", port=50051)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_refusal__in_base64__is_a_status_of_the_mesh(refusal: Refusal) -> None:
    values = refusal.template_values()
    encoded = next(value for key, value in values.items() if key.endswith("_details"))
    status = status_pb2.Status.FromString(base64.b64decode(encoded))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "intentmesh"
    assert not info.reason.startswith("ERROR_REASON_")
    assert str(status.code) in values.values()
