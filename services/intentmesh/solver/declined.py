"""Why this solver does not want an order."""

from intentmesh.v1.error_pb2 import ErrorReason


class Declined(Exception):
    """The order is not one for this solver, now. `str()` is the sentence the mesh is told."""

    def __init__(self, reason: ErrorReason.ValueType, message: str) -> None:
        super().__init__(message)
        self.reason = reason
