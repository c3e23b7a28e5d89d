# ruff: noqa: E501 (tables of values)
"""The values that programs trip over, by type. All text is UTF-8; what is not is made on the wire."""

from random import Random

SIGNED_32 = (0, 1, -1, 2, 7, 255, 256, 499, 500, 501, 2**31 - 1, -(2**31), -(2**31) + 1)
UNSIGNED_32 = (0, 1, 2, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
SIGNED_64 = (
    *SIGNED_32, 2**31, 2**32, 2**53, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1,
    # The borders of google.protobuf.Timestamp and of what PostgreSQL and Python call a date.
    253_402_300_799, 253_402_300_800, -62_135_596_800, -62_135_596_801, 9_224_318_015_999, 9_224_318_016_000,
    -210_866_803_200, 999_999_999, 1_000_000_000, -999_999_999,
)  # fmt: skip
UNSIGNED_64 = (*UNSIGNED_32, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1, 31_337, 31_338)
DOUBLES = (0.0, -0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan"))
ENUMS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 99, 255, 256, -1, 2**31 - 1, -(2**31))

NUMBERS = (
    "0", "00", "01", "1", "-0", "-1", "+1", " 1", "1 ", "1\n", "\n1", "1_000", "1e3", "1E77", "0x10", "0b1", "1.0", "1.", ".5",
    "NaN", "Infinity", "-inf", "\u0663", "\uff11\uff12", "\u00b2", "1\x00", "1\u200b", str(2**255), str(2**256 - 1), str(2**256), str(2**256 + 1),
    "9" * 77, "9" * 78, "9" * 79, "9" * 5000, str(2**63), str(2**64), "1" + "0" * 77,
)  # fmt: skip
HEXES = (
    "0x", "0X", "x", "0x0", "0xg", "0x" + "0" * 40, "0x" + "f" * 40, "0x" + "F" * 40, "0x" + "0" * 39, "0x" + "0" * 41,
    "0X" + "a" * 40, "0x" + "0" * 64, "0x" + "f" * 64, "0x" + "F" * 64, "0x" + "0" * 63, "0x" + "0" * 65,
    "0x" + "0" * 40 + "\n", "0x" + "0" * 64 + "\n", "\n0x" + "0" * 40, "0x" + "0" * 40 + "\x00", "0x" + " " * 40,
    "0x" + "0" * 23 + "1" + "a" * 40, "f" * 40, "f" * 64, "0x" + "\uff10" * 40, "0x" + "0" * 8192,
)  # fmt: skip
TEXTS = (
    "", " ", "\t", "\n", "\r\n", "\x00", "a\x00b", "\x01\x1b[31m", "\x7f", "\x80", "\xff", "\u2028", "\ufeff", "\u202e\u2066", "\u200d",
    "e\u0301" * 20, "👩\u200d👩\u200d👧", "\U0010ffff", "\ufffe", "İ", "ß" * 30, "null", "None", "true", "[]", "{}", "{0}", "{0.__class__}",
    "%s%s%n", "$(id)", "`id`", "'", "''", '"', "'; DROP TABLE intents; --", "' OR 1=1 --", "\\", "\\u0000", "../../../etc/passwd", "/dev/zero",
    "-", "--", "-1", "*", "%", "_", ",", ":", "a:b", "=", "==", "a" * 64, "a" * 65, "a" * 256, "a" * 257, "a" * 1024, "a" * 1025,
    "é" * 64, "é" * 1024, "\u4e2d" * 400,
)  # fmt: skip
ENDPOINTS = (
    "", ":", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:99999999999",
    "[::1]:1", "[::1", "localhost:1", "127.0.0.1:1\n", "127.0.0.1:1 ", " 127.0.0.1:1", "127.0.0.1:1\x00", "127.0.0.1:1/x", "dns:///127.0.0.1:1",
    "ipv4:127.0.0.1:1", "ipv4:127.0.0.1:1,127.0.0.1:2", "ipv6:[::1]:1", "unix:/", "unix:///dev/null", "unix-abstract:x", "xds:///127.0.0.1:1",
    "dns://127.0.0.1:1/127.0.0.1:1", "127.0.0.1:\uff11", "127.0.0.1:\u00b2", "http://127.0.0.1:1", "%31:1", "127.0.0.1:1#", "127.0.0.1:1?", "0:1",
)  # fmt: skip
"""For solvers' endpoints that are signed well and so may be dialled. Every one names this machine or nothing."""

HUGE = (1_500, 4_096, 8_192, 8_193, 20_000, 65_536, 300_000)
OVER_THE_LIMIT = 1_100_000
ALPHABET = "0aF \x00'\"%\\\n\u00e9\u4e2d\U0001f600"


def text(random: Random, current: str) -> str:
    """Another value for a string field, often close to what it holds now."""
    match random.randrange(8):
        case 0:
            return random.choice(NUMBERS)
        case 1:
            return random.choice(HEXES)
        case 2 | 3:
            return random.choice(TEXTS)
        case 4:
            return huge_text(random)
        case 5:
            return "".join(random.choice(ALPHABET) for _ in range(random.randrange(80)))
        case _:
            return _near(random, current)


def huge_text(random: Random) -> str:
    size = OVER_THE_LIMIT if random.random() < 0.02 else random.choice(HUGE)
    return random.choice(ALPHABET) * size


def blob(random: Random, current: bytes) -> bytes:
    """Another value for a bytes field."""
    match random.randrange(8):
        case 0:
            return b""
        case 1:
            return bytes((random.randrange(256),))
        case 2:
            return bytes((random.choice((0, 1, 2, 0xE0, 0xE1, 0xFF)),)) * random.choice(
                (1, 33, 64, 65, 66, 73, 74, *HUGE)
            )
        case 3:
            return random.randbytes(random.choice((32, 64, 65, 66, 67, 97, 4_096, 4_097)))
        case 4:
            return current + current
        case _:
            return flip(random, current)


def flip(random: Random, data: bytes) -> bytes:
    """A byte changed, cut out, put in, or the end cut off."""
    if not data:
        return random.randbytes(random.randrange(1, 16))
    at = random.randrange(len(data))
    match random.randrange(5):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + 1 :]
        case 2:
            return data[:at] + random.randbytes(random.randrange(1, 5)) + data[at:]
        case 3:
            return data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]
        case _:
            return data[:at] + bytes((random.choice((0, 1, 0x7F, 0x80, 0xFF)),)) + data[at + 1 :]


def _near(random: Random, current: str) -> str:
    if not current:
        return random.choice(TEXTS)
    at = random.randrange(len(current))
    match random.randrange(7):
        case 0:
            return current[:at]
        case 1:
            return current[:at] + random.choice(ALPHABET) + current[at:]
        case 2:
            return current[:at] + random.choice(ALPHABET) + current[at + 1 :]
        case 3:
            return current + random.choice(("\n", "\x00", " ", current, "0"))
        case 4:
            return random.choice(("\n", "\x00", " ", "0")) + current
        case 5:
            return current.swapcase()
        case _:
            return current[::-1]
