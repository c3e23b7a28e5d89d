"""Block explorers that show verified sources, behind one interface: a submission goes in, a verdict comes out.

An explorer compiles what it is given and compares it with the chain by itself, so its verdict is a second opinion on
ours. `sourcify` and `etherscan` speak to two of them; `publishing` is the stage of the pipeline.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from intentmesh.contract_pipeline.reports import JsonValue
from intentmesh.domain.types import Address


@dataclass(frozen=True, slots=True)
class Submission:
    """One contract with everything that an explorer needs to compile it again."""

    chain_id: int
    address: Address
    # As the compiler names it: "src/OutputSettler.sol:OutputSettler".
    identifier: str
    # "0.8.37+commit.f401782d".
    compiler_version: str
    standard_json: dict[str, JsonValue]
    # ABI-encoded.
    constructor_arguments: bytes
    # None when it is not known.
    creation_transaction: bytes | None


class Publication(StrEnum):
    """What became of a submission that was not refused."""

    VERIFIED = "verified"
    ALREADY_VERIFIED = "already verified"


class Explorer(Protocol):
    """Somewhere verified sources are shown."""

    @property
    def name(self) -> str:
        """For reports: the kind and the host, never a key."""
        ...

    async def publish(self, submission: Submission) -> Publication:
        """Hands over one contract and waits, for a bounded time, until the explorer has judged it.

        Raises MismatchError when it does not get the same code, and ExplorerLimitedError, ExplorerTimeoutError,
        ExplorerRefusedError or ExplorerAnswerError when it does not judge.
        """
        ...
