"""What an explorer needs to check a contract by itself: Sourcify's layout of metadata and sources.

<chain id>/<address>/metadata.json          the compiler's own, byte for byte
<chain id>/<address>/sources/<path>         every source it names
<chain id>/<address>/constructor-args.txt   ABI-encoded, hex
<chain id>/<address>/creator-tx-hash.txt    when it is known
"""

import json
from pathlib import Path

from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.explorers.submission import read_source
from intentmesh.contract_pipeline.inspection import Deployed
from intentmesh.domain.types import format_address


class BundleFolder:
    """A folder in Sourcify's layout, to be served, uploaded or looked at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, deployed: Deployed, artifacts: Artifacts, sources: Path) -> None:
        """`sources` is the folder that the metadata's paths start from. Raises NotBuiltError."""
        planned = deployed.planned
        target = self._folder / str(deployed.chain_id) / format_address(deployed.address)
        metadata = artifacts.metadata(planned.name)
        for path, source in json.loads(metadata)["sources"].items():
            _write(target / "sources" / path, read_source(sources / path, source["keccak256"]))
        _write(target / "metadata.json", metadata.encode())
        arguments = artifacts.encode_arguments(planned.name, planned.arguments)
        _write(target / "constructor-args.txt", f"0x{arguments.hex()}".encode())
        if deployed.transaction is not None:
            _write(target / "creator-tx-hash.txt", f"0x{deployed.transaction.hex()}".encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
