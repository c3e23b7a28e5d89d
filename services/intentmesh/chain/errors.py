"""What can go wrong with a chain.

MeshError
├── Unavailable
│   └── ChainUnavailable   no endpoint of the chain answered in time, or usefully: the truth is unknown
│       └── EndpointError  an endpoint answered with an error of its own; code and text are those of JSON-RPC
└── FailedPrecondition
    └── Reverted           the call would revert, or did; the contract's own error by name
"""

from collections.abc import Mapping

from intentmesh.domain.errors import FailedPrecondition, Unavailable
from intentmesh.v1.error_pb2 import ErrorReason

RETRY_AFTER_SECONDS = 1.0


class ChainUnavailable(Unavailable):
    """No endpoint answered in time. Nothing is known of what was asked; never a reason to give up on an order."""

    def __init__(self, chain_id: int, cause: str) -> None:
        super().__init__(
            f"chain {chain_id} cannot be reached at the moment",
            reason=ErrorReason.ERROR_REASON_CHAIN_UNAVAILABLE,
            metadata={"chain_id": str(chain_id)},
            retry_after=RETRY_AFTER_SECONDS,
        )
        # For logs: names of hosts and texts of others are not for callers.
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.message}: {self.cause}"


class EndpointError(ChainUnavailable):
    """An endpoint answered with a JSON-RPC error that is no revert."""

    def __init__(self, chain_id: int, code: int, text: str, data: bytes | None = None) -> None:
        super().__init__(chain_id, f"{text} ({code})")
        self.code = code
        self.text = text
        # What a contract gave as its reason, where this is a revert.
        self.data = data


class Reverted(FailedPrecondition):
    """The contract refused. `name` is its error's, "Error" for a plain text, "Panic", or "" when it gave no data.

    `data` is the raw revert data; `arguments` are the decoded ones by name.
    """

    def __init__(self, name: str, data: bytes, arguments: Mapping[str, object] | None = None) -> None:
        shown = name or "no reason given"
        super().__init__(
            f"the contract refused the call: {shown}",
            reason=ErrorReason.ERROR_REASON_TRANSACTION_REVERTED,
            metadata={"revert": name},
        )
        self.name = name
        self.data = data
        self.arguments: Mapping[str, object] = arguments or {}
