"""A process with all four kinds of parts, for tests of how it ends.

Run as `python -m tests.integration.embedded.doomed_mesh FOLDER`. When everything is ready it prints one line of JSON,
the pid and the port of each part, and waits to be ended.
"""

import asyncio
import json
import sys
from pathlib import Path

from intentmesh.embedded.anvil import AnvilChain, AnvilOptions, ChainId
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.envoy import EnvoyGateway
from intentmesh.embedded.gateway_config import PublicService
from intentmesh.embedded.parts import PartStack
from intentmesh.embedded.postgres import PostgresServer
from intentmesh.embedded.valkey import ValkeyServer


async def run(folder: DataFolder) -> None:
    servers = (
        PostgresServer(folder),
        ValkeyServer(folder),
        AnvilChain(folder, "alpha", AnvilOptions(ChainId(31337), state_interval_s=3600)),
        EnvoyGateway(folder, {service: ["127.0.0.1:1"] for service in PublicService}),
    )
    async with PartStack() as stack:
        await stack.start(*servers)
        sys.stdout.write(json.dumps({server.name: [server.process.pid, server.port] for server in servers}) + "\n")
        sys.stdout.flush()
        await stack.failed()


def main() -> None:
    with DataFolder(Path(sys.argv[1])) as folder:
        asyncio.run(run(folder))


if __name__ == "__main__":
    main()
