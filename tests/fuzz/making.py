"""From a number to an input: the number-th input of a seed is always the same call."""

import gzip
from random import Random

from google.protobuf.message import Message

from tests.fuzz import mutations, values
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
# Open calls cost the time they last; heavy ones cost the mesh's.
_WEIGHTS = {"IntakeService/SubmitIntent": 3, "IntakeService/SubmitIntents": 3, "IntakeService/ValidateIntent": 3}
_SUBMITTING = ("/intentmesh.v1.IntakeService/Submit", "/intentmesh.v1.IntakeService/Validate")
_PLAIN_SHARE = 0.1
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
        self._targets = [
            (rpc, door)
            for rpc in all_rpcs()
            for door in rpc.doors
            for _ in range(_WEIGHTS.get(rpc.name, 1) if rpc.path.startswith("/intentmesh") else 1)
        ]
        # Reflection and health stand at every server; all of them together count as much as three RPCs.
        ours = [target for target in self._targets if target[0].path.startswith("/intentmesh")]
        self._common = [target for target in self._targets if target not in ours]
        self._targets = ours

    def make(self, number: int) -> FuzzInput:
        """The number-th input."""
        random = Random(f"{self._seed}:{number}")
        rpc, door = random.choice(self._common if random.random() < 0.04 else self._targets)
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
            return random.choice(("service:bench", f"user:0x{random.randbytes(20).hex()}", "operator:fuzz", ""))
        return random.choice(PRINCIPALS).format(**self._names)

    def _count(self, random: Random, rpc: Rpc, manner: Manner) -> int:
        if manner is Manner.WRONG_COUNT:
            return random.choice((0, 0, 2, 3, 20))
        return random.choice((0, 1, 1, 2, 3, 8)) if rpc.request_streaming else 1

    def _message(self, random: Random, rpc: Rpc) -> tuple[bytes, list[str]]:
        message = self._corpus.seed(random, rpc.path)
        notes: list[str] = []
        if random.random() < _PLAIN_SHARE:
            return message.SerializeToString(), notes
        if random.random() < 0.75:
            notes += [mutations.mutate(random, message) for _ in range(random.choice((1, 1, 1, 2, 3, 8)))]
            if random.random() < 0.5 and self._sign_again(random, message):
                notes.append("signed again")
        data = message.SerializeToString()
        if not notes or random.random() < 0.15:
            other = self._corpus.seed(random, random.choice(self._targets)[0].path).SerializeToString()
            data, note = mutations.damage(random, data, other)
            notes.append(note)
        return data, notes

    def _sign_again(self, random: Random, message: Message) -> bool:
        inner = [message, *(value for field, value in message.ListFields() if field.name == "intent")]
        signed = [self._corpus.signer.again(random, one) for one in inner]
        return any(signed)


def _path(random: Random, rpc: Rpc) -> str:
    if random.random() > 0.005:
        return rpc.path
    return random.choice(
        (rpc.path + "s", rpc.path.lower(), "/", "//", "/a", "/intentmesh.v1.Nothing/Get", rpc.path + "/x")
    )


def _metadata(random: Random) -> tuple[Metadata, str]:
    """Headers that a gRPC client lets through. The address varies, or the limits would be all that is met."""
    address = f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(1, 255)}"
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
            packed = gzip.compress(messages[0] if messages else b"")
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
    (":method", "XXX"),
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
