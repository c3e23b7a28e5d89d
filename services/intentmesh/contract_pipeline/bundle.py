"""What an explorer needs to check a contract by itself: Sourcify's layout of metadata and sources.

<chain id>/<address>/metadata.json          the compiler's own, byte for byte
<chain id>/<address>/sources/<path>         every source it names
<chain id>/<address>/constructor-args.txt   ABI-encoded, hex
<chain id>/<address>/creator-tx-hash.txt    when it is known
"""

import json
from pathlib import Path
from typing import Protocol

from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.deployment import Deployed
from intentmesh.contract_pipeline.errors import NotBuiltError
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import format_address


class Explorer(Protocol):
    """Somewhere verified sources are shown."""

    def publish(self, deployed: Deployed, artifacts: Artifacts, sources: Path) -> str:
        """Hands over one contract and tells where it can be seen. Raises NotBuiltError."""
        ...


class BundleFolder:
    """A folder in Sourcify's layout, to be served, uploaded or looked at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def publish(self, deployed: Deployed, artifacts: Artifacts, sources: Path) -> str:
        """`sources` is the folder that the metadata's paths start from."""
        planned = deployed.planned
        target = self._folder / str(deployed.chain_id) / format_address(deployed.address)
        metadata = artifacts.metadata(planned.name)
        for path, source in json.loads(metadata)["sources"].items():
            content = _read_source(sources / path)
            if "0x" + keccak(content).hex() != source["keccak256"]:
                raise NotBuiltError(f"{path} is not what {planned.name} was compiled from: run `make contracts`")
            _write(target / "sources" / path, content)
        _write(target / "metadata.json", metadata.encode())
        arguments = artifacts.encode_arguments(planned.name, planned.arguments)
        _write(target / "constructor-args.txt", f"0x{arguments.hex()}".encode())
        if deployed.transaction is not None:
            _write(target / "creator-tx-hash.txt", f"0x{deployed.transaction.hex()}".encode())
        return str(target)


def _read_source(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotBuiltError(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
