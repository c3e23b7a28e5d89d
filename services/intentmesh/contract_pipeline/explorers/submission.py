"""What an explorer is given: sources and settings out of the compiler's own metadata, which make the same code."""

import json
from pathlib import Path

from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.errors import NotBuiltError
from intentmesh.contract_pipeline.explorers import Submission
from intentmesh.contract_pipeline.inspection import Deployed
from intentmesh.domain.keccak import keccak

# An explorer puts its own in the place of it; a compiler wants one.
_OUTPUTS = {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "metadata"]}}


def make_submission(deployed: Deployed, artifacts: Artifacts, sources: Path) -> Submission:
    """`sources` is the folder that the metadata's paths start from. Raises NotBuiltError."""
    planned = deployed.planned
    metadata = json.loads(artifacts.metadata(planned.name))
    settings = dict(metadata["settings"])
    ((file, contract),) = settings.pop("compilationTarget").items()
    # Metadata names libraries in another form than the compiler's input; we link none.
    settings.pop("libraries")
    standard_json = {
        "language": metadata["language"],
        "sources": {
            path: {"content": read_source(sources / path, source["keccak256"]).decode()}
            for path, source in metadata["sources"].items()
        },
        "settings": {**settings, "outputSelection": _OUTPUTS},
    }
    return Submission(
        chain_id=deployed.chain_id,
        address=deployed.address,
        identifier=f"{file}:{contract}",
        compiler_version=metadata["compiler"]["version"],
        standard_json=standard_json,
        constructor_arguments=artifacts.encode_arguments(planned.name, planned.arguments),
        creation_transaction=deployed.transaction,
    )


def read_source(path: Path, keccak256: str) -> bytes:
    """A source as it was compiled, by its hash. Raises NotBuiltError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotBuiltError(f"{path} cannot be read: {error.strerror}") from error
    if "0x" + keccak(content).hex() != keccak256:
        raise NotBuiltError(f"{path} is not what was compiled: run `make contracts`")
    return content
