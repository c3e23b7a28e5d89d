"""Names for what contracts say when they refuse."""

import re
from functools import cache

from intentmesh.chain.codec import Abi, Error, MalformedData, load_abi
from intentmesh.chain.errors import EndpointError, Reverted

# `Error(string)` and `Panic(uint256)` belong to the language and stand in no contract's interface.
_LANGUAGE = Abi(
    [
        {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]},
        {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
    ]
)
_CONTRACTS = ("input_settler", "output_settler", "oracle", "token", "permit2")
# JSON-RPC code for a revert, of geth and those who follow it.
_EXECUTION_REVERTED = 3
# How the virtual machines of geth and of revm (reth, Anvil) name what ends a call without a revert.
_HALT = re.compile(
    r"out ?of ?gas|operand ?oog|invalid ?(fe)?opcode|opcode ?not ?found|invalid ?jump|stack ?(underflow|overflow|limit)"
    r"|out ?of ?(offset|bounds)|write protection|static ?call|gas uint64 overflow|call ?(depth|too ?deep)",
    re.IGNORECASE,
)


def decode_revert(data: bytes) -> Reverted:
    """The contract's error by name; an unknown one is named by its selector in hex, none at all by ""."""
    selector = data[:4]
    known = _errors().get(selector)
    if known is None:
        return Reverted("0x" + selector.hex() if data else "", data)
    try:
        return Reverted(known.name, data, known.decode(data[4:]))
    except MalformedData:
        return Reverted(known.name, data)


def revert_of(error: EndpointError) -> Reverted | None:
    """The revert that an endpoint's error tells of, None when it is of another kind."""
    if error.data is not None:
        return decode_revert(error.data)
    if error.code == _EXECUTION_REVERTED or "revert" in error.text.lower():
        return decode_revert(b"")
    return None


def tells_of_a_halt(error: EndpointError) -> bool:
    """Whether the contract's code went wrong by itself: no gas left, a wrong opcode, jump or stack.

    As final as a revert, though nodes give it the code of an error of their own. How much gas a call may take is up to
    the node, so this is an answer only where nothing is lost by taking "no" from one that allows too little.
    """
    return _HALT.search(error.text) is not None


@cache
def _errors() -> dict[bytes, Error]:
    known = dict(_LANGUAGE.errors)
    for name in _CONTRACTS:
        known |= load_abi(name).errors
    return known
