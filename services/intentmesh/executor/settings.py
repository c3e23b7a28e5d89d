"""Settings of the executor. Times in seconds."""

import os
import socket
from pathlib import Path

from pydantic import Field

from intentmesh.executor.attempts import RetryPolicy
from intentmesh.rpc.settings import CommaSeparated, ServiceSettings


def _default_worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


class ExecutorSettings(ServiceSettings):
    """What the executor can be told beside the common settings."""

    network_file: Path
    registry_target: str
    attester_targets: CommaSeparated = ()
    # Unique per process; claims are told apart by fence, so this is for people.
    worker_name: str = Field(default_factory=_default_worker_name)

    # Newly claimed intents worked on at once by one process; as many of those that waited have their turn beside them.
    concurrency: int = Field(32, gt=0)
    # Intents held while they wait, mostly for their solver. Beyond it one of the solver with most of them rests, and is
    # taken up again under the same award.
    max_waiting: int = Field(512, gt=0)
    claim_batch: int = Field(16, gt=0)
    lease_seconds: float = Field(15.0, gt=0)
    # Behind the hints: how often due work is looked for.
    claim_poll_seconds: float = Field(0.5, gt=0)
    # How often the chains are looked at while an intent is on its way.
    chain_poll_seconds: float = Field(0.5, gt=0)
    # The longest between two looks at an intent with an obligation.
    reconcile_seconds: float = Field(60.0, gt=0)

    auction_timeout_seconds: float = Field(10.0, gt=0)
    auction_retry_base_seconds: float = Field(1.0, gt=0)
    # Of an order that nobody wants; grows with its age, up to `reconcile_seconds`.
    auction_retry_cap_seconds: float = Field(15.0, gt=0)
    # Nothing new is begun when less than this is left before the fill deadline.
    least_seconds: float = Field(2.0, ge=0)

    max_attempts: int = Field(5, gt=0)
    max_awards: int = Field(5, gt=0)
    retry_base_seconds: float = Field(1.0, gt=0)
    retry_cap_seconds: float = Field(30.0, gt=0)
    failover_grace_seconds: float = Field(5.0, ge=0)

    call_timeout_seconds: float = Field(5.0, gt=0)

    # Refunds are sent with the key of role "executor" in the network file, if there is one.
    transactions_dsn: str = Field("", repr=False)
    # Unsettled orders are told to a person this long before anyone may refund them.
    settlement_margin_seconds: float = Field(600.0, ge=0)
    alert_webhook_url: str = ""
    alert_repeat_seconds: float = Field(3600.0, gt=0)

    def retry_policy(self) -> RetryPolicy:
        """How attempts within an award are made."""
        return RetryPolicy(
            max_attempts=self.max_attempts,
            base_seconds=self.retry_base_seconds,
            cap_seconds=self.retry_cap_seconds,
            grace_seconds=self.failover_grace_seconds,
        )
