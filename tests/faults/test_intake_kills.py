"""50,000 orders while the intake is killed ten times: every acknowledged one is stored, none twice.

Run by `make faults`; `make test` has the shorter form in tests/integration/intake/test_once.py.
"""

import sys
from pathlib import Path

from intentmesh.chain.config import NetworkConfig
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.postgres import Dsn
from intentmesh.embedded.valkey import ValkeyUrl

from tests.fixtures.intake_process import intake_process, kill_while_submitting


async def test_killed_intake__fifty_thousand_orders__are_stored_once(
    data_folder: DataFolder, fresh_database: Dsn, valkey_url: ValkeyUrl, network: NetworkConfig, tmp_path: Path
) -> None:
    async with intake_process(data_folder, fresh_database, valkey_url, network, tmp_path) as process:
        figures = await kill_while_submitting(process, fresh_database, network, count=50_000, kills=10)
    # Shown by `pytest -rP`.
    sys.stdout.write(f"{figures}\n")
