"""What came of one input, as the caller saw it."""

from dataclasses import dataclass

Trailers = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is the gRPC status' name, or one of the words below where there was none."""

    status: str
    message: str = ""
    trailers: Trailers = ()
    # The answers, as bytes; of a long stream the first ones.
    responses: tuple[bytes, ...] = ()
    seconds: float = 0.0
    # The caller's library made the status up: nothing, or no gRPC, came back.
    http_status: int = 200


OPEN = "(open)"
"""The call was alive when the caller went away."""
HANG = "(hang)"
NO_GRPC = "(no grpc)"
"""An HTTP answer that is not gRPC's, or a connection closed, where the input was no gRPC either."""
TRANSPORT = "(transport)"
"""An error that a library made up before any code of the mesh saw the call; in reports only."""
