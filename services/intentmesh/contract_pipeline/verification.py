"""Is what stands on a chain what was compiled here, made with the arguments that were meant? Pure.

Runtime code has three kinds of bytes: instructions, words that the constructor wrote into it (immutables), and metadata
about the sources. Each kind is compared by itself, so that a difference can be told by its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eth_abi.abi import encode

from intentmesh.contract_pipeline.artifacts import IMMUTABLE_BYTES, Artifacts, RuntimeTemplate, metadata_start
from intentmesh.contract_pipeline.create2 import create2_address, split_calldata
from intentmesh.contract_pipeline.plan import DOMAIN_VERSION, PlannedContract
from intentmesh.contract_pipeline.reports import Finding
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address, format_address

GATE = "verification"
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_MASK = b"\0" * IMMUTABLE_BYTES


@dataclass(frozen=True, slots=True)
class Standing:
    """What a chain says of one contract."""

    chain_id: int
    address: Address
    code: bytes
    # Input of the transaction that made it; None when it is not known.
    creation_calldata: bytes | None


def verify(planned: PlannedContract, standing: Standing, artifacts: Artifacts) -> list[Finding]:
    """Every difference between what was meant and what stands there, each with its name; none when they agree."""
    if not standing.code:
        fault = f"there is no contract at {format_address(standing.address)}"
        return [_finding(planned, standing, "contract", fault)]
    template = artifacts.runtime_template(planned.name)
    meant = immutable_words(planned, standing.chain_id, standing.address)
    differences = [
        *_address_differences(planned, standing),
        *_argument_differences(planned, standing, artifacts),
        *_code_differences(template, meant, standing.code),
    ]
    return [_finding(planned, standing, check, fault) for check, fault in differences]


def immutable_words(planned: PlannedContract, chain_id: int, address: Address) -> dict[str, bytes]:
    """The words that the constructor writes, by the name of the immutable."""
    words = {}
    if planned.domain_name is not None:
        hashed_name, hashed_version = keccak(planned.domain_name.encode()), keccak(DOMAIN_VERSION.encode())
        words = {
            "_hashedName": hashed_name,
            "_hashedVersion": hashed_version,
            "_name": _short_string(planned.domain_name),
            "_version": _short_string(DOMAIN_VERSION),
            "_cachedChainId": encode(["uint256"], [chain_id]),
            "_cachedThis": encode(["address"], [address]),
            "_cachedDomainSeparator": keccak(
                encode(
                    ["bytes32", "bytes32", "bytes32", "uint256", "address"],
                    [keccak(_DOMAIN_TYPE), hashed_name, hashed_version, chain_id, address],
                )
            ),
        }
    if planned.name == "AttestedOracle":
        words["threshold"] = encode(["uint256"], [planned.arguments[1]])
    if planned.name == "LocalToken":
        words["_decimals"] = encode(["uint8"], [planned.arguments[2]])
    return words


def is_made_of(template: RuntimeTemplate, code: bytes) -> bool:
    """Whether it is that code, whatever its immutables are."""
    words = {name: code[offsets[0] : offsets[0] + IMMUTABLE_BYTES] for name, offsets in template.immutables.items()}
    return len(code) == len(template.code) and template.filled(words) == code


def _address_differences(planned: PlannedContract, standing: Standing) -> list[tuple[str, str]]:
    if standing.address == planned.address:
        return []
    fault = f"it stands at {format_address(standing.address)}; code, arguments and salt lead to"
    return [("address", f"{fault} {format_address(planned.address)}")]


def _argument_differences(planned: PlannedContract, standing: Standing, artifacts: Artifacts) -> list[tuple[str, str]]:
    """From the transaction that made it: the only place that holds arguments which end up in storage."""
    if standing.creation_calldata is None:
        return []
    salt, creation = split_calldata(standing.creation_calldata)
    if create2_address(salt, creation) != standing.address:
        return [("creation transaction", "the recorded transaction made another contract than this one")]
    if salt != planned.salt:
        return [("salt", f"it was made with the salt 0x{salt.hex()}, not 0x{planned.salt.hex()}")]
    bare = artifacts.creation_code(planned.name)
    if creation[: len(bare)] != bare:
        return [("creation code", "it was made from other creation code than the compiled one")]
    if creation == planned.creation:
        return []
    try:
        given = artifacts.decode_arguments(planned.name, creation[len(bare) :])
    except ValueError:
        return [("constructor arguments", "what follows the creation code are no constructor arguments")]
    meant = artifacts.decode_arguments(planned.name, planned.creation[len(bare) :])
    return [
        (f"constructor argument {name}", f"was {_shown(was)}, should be {_shown(should)}")
        for name, was, should in zip(artifacts.constructor_names(planned.name), given, meant, strict=True)
        if was != should
    ]


def _code_differences(template: RuntimeTemplate, meant: Mapping[str, bytes], code: bytes) -> list[tuple[str, str]]:
    unknown = set(template.immutables) - set(meant)
    if unknown:
        return [("immutables", f"nobody says what {', '.join(sorted(unknown))} should be")]
    if len(code) != len(template.code):
        return [("runtime code", f"it has {len(code):,} bytes, the compiled one has {len(template.code):,}")]
    differences = []
    masked = bytearray(code)
    for name, offsets in template.immutables.items():
        for offset in offsets:
            word = code[offset : offset + IMMUTABLE_BYTES]
            masked[offset : offset + IMMUTABLE_BYTES] = _MASK
            if word != meant[name]:
                differences.append((f"immutable {name}", f"is {_word(word)}, should be {_word(meant[name])}"))
    return [*dict.fromkeys(differences), *_byte_differences(template.code, bytes(masked))]


def _byte_differences(compiled: bytes, masked: bytes) -> list[tuple[str, str]]:
    start = metadata_start(compiled)
    wrong = [offset for offset, (one, other) in enumerate(zip(compiled, masked, strict=True)) if one != other]
    differences = []
    instructions = [offset for offset in wrong if offset < start]
    if instructions:
        first = instructions[0]
        fault = f"{len(instructions)} bytes differ; at offset {first} there is 0x{masked[first]:02x}"
        differences.append(("instructions", f"{fault}, compiled is 0x{compiled[first]:02x}"))
    if len(instructions) != len(wrong):
        differences.append(("metadata", "it tells of other sources or compiler settings than those compiled here"))
    return differences


def set_difference(meant: Sequence[Address], found: Sequence[Address]) -> str | None:
    """Names the accounts by which two sets differ; None when they do not."""
    missing = [format_address(account) for account in meant if account not in found]
    extra = [format_address(account) for account in found if account not in meant]
    if not missing and not extra:
        return None
    parts = [f"missing: {', '.join(missing)}"] if missing else []
    parts += [f"not configured: {', '.join(extra)}"] if extra else []
    return "; ".join(parts)


def _finding(planned: PlannedContract, standing: Standing, check: str, fault: str) -> Finding:
    return Finding(GATE, check, f"{planned.role} ({planned.name}) on chain {standing.chain_id}", fault)


def _short_string(text: str) -> bytes:
    """A string of at most 31 bytes with its length in the last byte."""
    raw = text.encode()
    if len(raw) >= IMMUTABLE_BYTES:
        raise ValueError(f"{text!r} is too long for an immutable")
    return raw.ljust(IMMUTABLE_BYTES - 1, b"\0") + bytes([len(raw)])


def _word(word: bytes) -> str:
    number = int.from_bytes(word, "big")
    return str(number) if number < 1 << 64 else f"0x{word.hex()}"


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(_shown(one) for one in value)}]"
    return str(value)
