"""What an endpoint's trouble tells of its URL."""

import pytest
from aiohttp import web
from intentmesh.chain.endpoints import EndpointPool
from intentmesh.chain.errors import ChainUnavailable


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_request__endpoint_answers_with_an_http_error__its_secret_path_is_not_told(status: int) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    application = web.Application()
    application.router.add_post("/v2/ABCDEF", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    asked = EndpointPool(1, (f"http://127.0.0.1:{runner.addresses[0][1]}/v2/ABCDEF?key=GHIJKL",), 5.0)
    try:
        with pytest.raises(ChainUnavailable) as caught:
            await asked.request("eth_blockNumber")
    finally:
        await asked.close()
        await runner.cleanup()
    assert f"HTTP {status}" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("ABCDEF", "GHIJKL"))
