"""A URL on loopback that stands for another one, for a program that may not see it.

A program of somebody else tells its URLs on: its command line is open to every account of the machine, its log and its
errors repeat them. What holds a key goes no further than our own process.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from intentmesh.embedded.ports import LOOPBACK

UPSTREAM_TIMEOUT_SECONDS = 60.0
# An eth_sendRawTransaction or a batch; no JSON-RPC request of ours comes near.
LARGEST_REQUEST_BYTES = 16 * 1024 * 1024


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[str]:
    """What is posted to the yielded URL is posted to `url`, and the answer is handed back. JSON-RPC over HTTP only.

    An upstream that does not answer is a 502 that names the kind of error alone.
    """
    async with ClientSession(timeout=ClientTimeout(total=UPSTREAM_TIMEOUT_SECONDS)) as session:

        async def forward(request: web.Request) -> web.Response:
            body = await request.read()
            try:
                async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
                    return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")
            except (ClientError, TimeoutError) as error:
                return web.Response(status=web.HTTPBadGateway.status_code, text=type(error).__name__)

        application = web.Application(client_max_size=LARGEST_REQUEST_BYTES)
        application.router.add_post("/", forward)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, LOOPBACK, 0).start()
            yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
