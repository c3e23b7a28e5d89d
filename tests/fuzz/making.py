"""From a number to an input: the number-th input of a seed is always the same call."""

import gzip
from collections.abc import Iterator
from random import Random

from google.protobuf.message import Message
from intentmesh.rpc.validation import RequestValidator

from tests.fuzz import crossing, mutations, values
from tests.fuzz.corpus import Corpus
from tests.fuzz.inputs import FuzzInput, Manner, Metadata
from tests.fuzz.surface import Door, Rpc, all_rpcs

PRINCIPALS = (
    "",
    "",
    "",
    "user:{user}",
    "user:{user}",
    "user:0x" + "11" * 20,
    "service:bench",
    "solver:{solver}",
    "executor:executor",
    "attester:one",
    "operator:fuzz",
    "operator:fuzz",
)
# How often each server is called, so that each has its share however many RPCs and doors it has; attesters are two.
_SHARES = {
    Door.INTAKE: 30,
    Door.SOLVER_REGISTRY: 18,
    Door.EXECUTOR: 14,
    Door.STATUS: 14,
    Door.SOLVER: 10,
    Door.ATTESTER_1: 7,
    Door.ATTESTER_2: 7,
}
# Within its server.
_WEIGHTS = {"IntakeService/SubmitIntent": 3, "IntakeService/SubmitIntents": 3, "IntakeService/ValidateIntent": 2}
_SUBMITTING = ("/intentmesh.v1.IntakeService/Submit", "/intentmesh.v1.IntakeService/Validate")
_PLAIN_SHARE = 0.1
_SOUND_SHARE = 0.45
"""Changed in a way that the structure check takes, so that what comes after it is tried as well."""
_TRIES = 6
_MANNERS = (
    (Manner.WHOLE, 0.86), (Manner.CANCELLED, 0.03), (Manner.SHORT_DEADLINE, 0.02), (Manner.OPEN_ENDED, 0.01),
    (Manner.WRONG_COUNT, 0.02), (Manner.COMPRESSED, 0.02), (Manner.FRAMES, 0.03), (Manner.BARE, 0.01),
)  # fmt: skip
BOMB_BYTES = 24_000_000


class InputMaker:
    """Makes inputs out of the seeds of a corpus."""

    def __init__(self, corpus: Corpus, seed: int, user: str, solver: str) -> None:
        self._corpus = corpus
        self._seed = seed
        self._names = {"user": user.lower(), "solver": solver.lower()}
        self._validator = RequestValidator()
        self._targets: dict[Door, list[tuple[Rpc, Door]]] = {server: [] for server in _SHARES}
        self._common: list[tuple[Rpc, Door]] = []
        for rpc in all_rpcs():
            for door in rpc.doors:
                server = rpc.server_behind(door)
                if server is None or not rpc.path.startswith("/intentmesh"):
                    # Reflection and health stand at every server.
                    self._common.append((rpc, door))
                else:
                    self._targets[server] += [(rpc, door)] * _WEIGHTS.get(rpc.name, 1)
        self._paths = [rpc.path for rpc in all_rpcs() if rpc.path.startswith("/intentmesh")]

    def make(self, number: int) -> FuzzInput:
        """The number-th input."""
        random = Random(f"{self._seed}:{number}")
        rpc, door = random.choice(self._common if random.random() < 0.04 else self._targets[_server(random)])
        manner = random.choices([manner for manner, _ in _MANNERS], [share for _, share in _MANNERS])[0]
        principal = self._principal(random, rpc) if door is not Door.GATEWAY else ""
        count = self._count(random, rpc, manner)
        made = [self._message(random, rpc) for _ in range(count)]
        messages = tuple(data for data, _ in made)
        mutated = [note for _, notes in made for note in notes]
        metadata, note = _metadata(random)
        if note:
            mutated.append(note)
        body = b""
        if manner is Manner.FRAMES:
            body, metadata, notes = _frames(random, messages, metadata)
            mutated += notes
        elif manner is Manner.BARE:
            body, note = _bare(random, b"".join(messages))
            mutated.append(note)
        elif manner is Manner.COMPRESSED and random.random() < 0.02:
            messages, note = (b"\x0a" + mutations.varint(BOMB_BYTES) + bytes(BOMB_BYTES),), "a bomb"
            mutated.append(note)
        return FuzzInput(
            number=number,
            door=door,
            path=_path(random, rpc),
            messages=messages,
            metadata=metadata,
            principal=principal,
            manner=manner,
            hold_ms=random.choice((0, 1, 5, 20, 100)),
            mutations=tuple(mutated[:12]),
            body=body,
            reset=manner is Manner.FRAMES and random.random() < 0.2,
        )

    def _principal(self, random: Random, rpc: Rpc) -> str:
        # Limits go by caller: most submissions come from callers that have not been seen, or all would be over theirs.
        if rpc.path.startswith(_SUBMITTING) and random.random() < 0.7:
            return random.choice(("service:bench", f"user:0x{random.randrange(1, 1_000):040x}", "operator:fuzz", ""))
        if random.random() < 0.4:
            # Most calls that are not for everyone are for one of these.
            return random.choice(("operator:fuzz", "executor:executor"))
        return random.choice(PRINCIPALS).format(**self._names)

    def _count(self, random: Random, rpc: Rpc, manner: Manner) -> int:
        if manner is Manner.WRONG_COUNT:
            return random.choice((0, 0, 2, 3, 20))
        return random.choice((0, 1, 1, 2, 3, 8)) if rpc.request_streaming else 1

    def _message(self, random: Random, rpc: Rpc) -> tuple[bytes, list[str]]:
        roll = random.random()
        if roll < _PLAIN_SHARE:
            return self._corpus.seed(random, rpc.path).SerializeToString(), []
        if roll < _PLAIN_SHARE + _SOUND_SHARE:
            return self._sound(random, rpc)
        return self._broken(random, rpc)

    def _sound(self, random: Random, rpc: Rpc) -> tuple[bytes, list[str]]:
        """Changed until the rules of the protos take it; what is signed is mostly signed again."""
        message, notes = self._corpus.seed(random, rpc.path), list[str]()
        for _ in range(_TRIES):
            message, notes = self._corpus.seed(random, rpc.path), ["sound"]
            for _turn in range(random.choice((1, 1, 1, 2, 3))):
                if random.random() < 0.8:
                    notes.append(crossing.cross(random, message, self._corpus.seed(random, rpc.path)))
                else:
                    notes.append(mutations.mutate(random, message))
            if random.random() < 0.75 and self._sign_again(random, message):
                notes.append("signed again")
            if not self._validator.violations(message):
                break
        return message.SerializeToString(), notes

    def _broken(self, random: Random, rpc: Rpc) -> tuple[bytes, list[str]]:
        """Changed anyhow, by its fields or by its bytes."""
        message = self._corpus.seed(random, rpc.path)
        notes: list[str] = []
        if random.random() < 0.75:
            notes += [mutations.mutate(random, message) for _ in range(random.choice((1, 1, 1, 2, 3, 8)))]
            if random.random() < 0.5 and self._sign_again(random, message):
                notes.append("signed again")
        data = message.SerializeToString()
        if not notes or random.random() < 0.15:
            other = self._corpus.seed(random, random.choice(self._paths)).SerializeToString()
            data, note = mutations.damage(random, data, other)
            notes.append(note)
        return data, notes

    def _sign_again(self, random: Random, message: Message) -> bool:
        signed = [self._corpus.signer.again(random, one) for one in _within(message)]
        return any(signed)


def _server(random: Random) -> Door:
    return random.choices(list(_SHARES), list(_SHARES.values()))[0]


def _within(message: Message) -> Iterator[Message]:
    """The message and all those in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for child in value if field.is_repeated else (value,):
                yield from _within(child)


def _path(random: Random, rpc: Rpc) -> str:
    if random.random() > 0.005:
        return rpc.path
    return random.choice(
        (rpc.path + "s", rpc.path.lower(), "/", "//", "/a", "/intentmesh.v1.Nothing/Get", rpc.path + "/x")
    )


def _metadata(random: Random) -> tuple[Metadata, str]:
    """Headers that a gRPC client lets through. Of some thousand addresses: what is kept for each is no leak."""
    address = f"10.0.{random.randrange(16)}.{random.randrange(1, 255)}"
    metadata: list[tuple[str, str | bytes]] = [("x-forwarded-for", address)]
    if random.random() > 0.2:
        return tuple(metadata), ""
    match random.randrange(9):
        case 0:
            odd = random.choice(
                (
                    "",
                    ",",
                    ",,,",
                    "unknown",
                    "::1",
                    "[::1]:80",
                    "1.2.3.4:5",
                    "999.1.1.1",
                    "127.0.0.1",
                    "a" * 3000,
                    "::ffff:1.2.3.4",
                )
            )
            metadata[0] = ("x-forwarded-for", ", ".join((address, odd)))
        case 1:
            metadata += [("x-forwarded-for", address)] * random.choice((1, 50))
        case 2:
            trace = random.choice(
                (
                    "",
                    "00",
                    "00-0-0-0",
                    "00-" + "0" * 32 + "-" + "0" * 16 + "-00",
                    "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
                    "x" * 5000,
                    "00-" + "g" * 32 + "-" + "b" * 16 + "-01",
                )
            )
            metadata.append(("traceparent", trace))
        case 3:
            metadata.append(("x-bytes-bin", random.randbytes(random.choice((0, 1, 100, 3_000, 7_000)))))
        case 4:
            metadata += [(f"x-{number}", "v" * 20) for number in range(random.choice((10, 60, 110, 400)))]
        case 5:
            metadata.append(("x-huge", "h" * random.choice((7_000, 9_000, 17_000, 40_000, 200_000))))
        case 6:
            # Without a token, or with a wrong one: nobody may believe it.
            metadata.append(
                ("x-intentmesh-principal", random.choice(("operator:me", "operator:", ":", "x", "user:" + "a" * 200)))
            )
            metadata.append(("x-intentmesh-token", random.choice(("", "wrong", "w" * 5_000))))
        case 7:
            metadata.append(("grpc-status-details-bin", random.randbytes(40)))
            metadata.append(("authorization", "Bearer " + "e" * random.choice((1, 4_000))))
        case _:
            metadata.append(("grpc-accept-encoding", random.choice(("", "identity", "gzip", "x", ","))))
            metadata.append(("user-id", "~" * 100))
    return tuple(metadata), "odd headers"


def _frames(random: Random, messages: tuple[bytes, ...], metadata: Metadata) -> tuple[bytes, Metadata, list[str]]:
    """A body whose framing lies, and headers that no gRPC client would send."""
    notes = ["frames"]
    body = b"".join(b"\x00" + len(message).to_bytes(4) + message for message in messages)
    match random.randrange(9):
        case 0:
            body = body[: random.randrange(len(body) + 1)]
        case 1:
            body += random.randbytes(random.randrange(1, 20))
        case 2:
            body = b"\x01" + body[1:]
        case 3:
            body = bytes((random.randrange(2, 256),)) + body[1:]
        case 4:
            body = b"\x00" + random.choice((2**32 - 1, 2**31, 1_048_577, 1_048_576)).to_bytes(4) + body[5:]
        case 5:
            packed = gzip.compress(messages[0] if messages else b"", mtime=0)
            packed = values.flip(random, packed) if random.random() < 0.5 else packed
            body = b"\x01" + len(packed).to_bytes(4) + packed
            metadata += (("grpc-encoding", random.choice(("gzip", "deflate", "zstd", "identity", "", "gzip,gzip"))),)
        case 6:
            body = b"\x00\x00\x00\x00\x00" * random.choice((1, 2, 1000))
        case 7:
            body = b""
        case _:
            pass
    if random.random() < 0.6:
        metadata += (random.choice(_ODD_HEADERS),)
        notes.append(f"header {metadata[-1][0]}")
    return body, metadata, notes


_ODD_HEADERS: Metadata = (
    ("grpc-timeout", ""),
    ("grpc-timeout", "1"),
    ("grpc-timeout", "-1S"),
    ("grpc-timeout", "999999999S"),
    ("grpc-timeout", "0n"),
    ("grpc-timeout", "1x"),
    ("grpc-timeout", "99999999H"),
    ("grpc-timeout", "1m"),
    ("content-type", "application/json"),
    ("content-type", ""),
    ("content-type", "application/grpc+json"),
    ("content-type", "application/grpc-web"),
    ("te", "gzip"),
    ("x-broken-bin", "!!!"),
    ("x-broken-bin", "=,=,="),
    ("traceparent-bin", "AAAA,"),
    (":authority", ""),
    (":authority", "a b"),
    (":method", "GET"),
    (":method", "OPTIONS"),
    (":method", "XXX"),  # no method of HTTP
    (":scheme", "ftp"),
    ("x-latin", "\xe9\xff"),
    ("x-control", "a\x01b"),
    ("user-agent", "u" * 2_000),
    ("user-agent", ""),
    ("grpc-message-type", "x"),
    ("grpc-internal-encoding-request", "gzip"),
    ("host", "x"),
    ("content-length", "0"),
    ("content-length", "7"),
    ("expect", "100-continue"),
    ("x-envoy-retry-on", "5xx"),
    ("x-envoy-upstream-rq-timeout-ms", "1"),
    ("x-http-method-override", "GET"),
)


def _bare(random: Random, data: bytes) -> tuple[bytes, str]:
    """What comes before or instead of HTTP/2."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    match random.randrange(9):
        case 0:
            return data[:4_000] or b"\x00", "noise on a connection"
        case 1:
            return b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1"
        case 2:
            return (
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
                "HTTP/1.1 with a body that does not come",
            )
        case 3:
            return b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(200), "a TLS hello"
        case 4:
            return preface + settings + random.randbytes(random.randrange(1, 300)), "noise after the preface"
        case 5:
            # HEADERS, CONTINUATION, DATA, … of a stream in a wrong order.
            frame = b"".join(
                (4).to_bytes(3)
                + bytes((random.randrange(12), random.randrange(256)))
                + random.choice((0, 1, 2, 3, 2**31 - 1)).to_bytes(4)
                + b"\x00" * 4
                for _ in range(random.choice((1, 5, 100)))
            )
            return preface + settings + frame, "frames in a wrong order"
        case 6:
            return preface[: random.randrange(len(preface))], "half a preface"
        case 7:
            pings = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"p" * 8
            return preface + settings + pings * 2_000, "many pings"
        case _:
            resets = b"".join(
                b"\x00\x00\x01\x01\x04"
                + stream.to_bytes(4)
                + b"\x82"
                + b"\x00\x00\x04\x03\x00"
                + stream.to_bytes(4)
                + b"\x00\x00\x00\x08"
                for stream in range(1, 801, 2)
            )
            return preface + settings + resets, "streams reset as soon as they are opened"
