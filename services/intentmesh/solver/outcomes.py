"""How a run of a job can be cut short."""

from intentmesh.solver.jobs import Reason
from intentmesh.v1 import error_pb2 as reasons


class Stop(Exception):
    """The job cannot go on, for good. Whether it is released or failed depends on what stands on chain."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TryFailed(Exception):
    """A transaction came to nothing for certain: refused, reverted, or undone by a reorganisation."""

    # Trying again cannot help: the contracts will say the same until the order's end.
    _FINAL = frozenset(
        {
            "InvalidSigner",
            "InvalidNonce",
            "InvalidSignature",
            "SignatureNotSupported",
            "SignatureExpired",
            "WrongChain",
            "FillDeadline",
            "FillDeadlineAfterExpiry",
            "FilledTooLate",
            "TimestampPassed",
            "NotImplemented",
        }
    )

    def __init__(self, what: str, revert: str) -> None:
        super().__init__(f"{what} was refused: {revert}" if revert else f"{what} did not take effect")
        self.reason: Reason = reasons.ERROR_REASON_TRANSACTION_REVERTED
        self.final = revert.partition("(")[0] in self._FINAL


class NotYet(Exception):
    """What is waited for has not come; the run is taken up again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
