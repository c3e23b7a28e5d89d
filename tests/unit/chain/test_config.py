"""The network file: what it may say, and what is read from it."""

from pathlib import Path

import pytest
from intentmesh.chain.config import InvalidNetworkError, NetworkConfig, load_network
from intentmesh.chain.network_file import format_network, write_network
from intentmesh.domain.digests import PERMIT2
from intentmesh.domain.errors import InvalidArgument
from intentmesh.domain.types import Address, format_address
from intentmesh.v1.error_pb2 import ErrorReason

CHAIN = """
[[chains]]
chain_id = {id}
name = "{name}"
rpc_urls = ["http://one", "http://two"]
confirmations = 2
max_reorg_depth = 3
block_time_seconds = 0.5
input_settler = "0x{id:040x}"
output_settler = "0x1111111111111111111111111111111111111111"
oracle = "0x22222222222222222222222222222222222222{id:02x}"
[chains.tokens.USDC]
address = "0xabcdefABCDEFabcdefABCDEFabcdefABCDEFabcd"
decimals = 6
erc3009 = {{ name = "USD Coin", version = "2" }}
[chains.tokens.WETH]
address = "0x3333333333333333333333333333333333333333"
decimals = 18
"""
KEYS = """
[[keys]]
role = "attester"
key = "env:A"
[[keys]]
role = "solver"
key = "file:/run/solver"
[[keys]]
role = "attester"
key = "env:B"
"""
ALPHA = CHAIN.format(id=10, name="alpha")
BETA = CHAIN.format(id=11, name="beta")


def load(tmp_path: Path, text: str) -> NetworkConfig:
    file = tmp_path / "network.toml"
    file.write_text(text, encoding="utf-8")
    return load_network(file)


def test_load__a_whole_file__is_read(tmp_path: Path) -> None:
    network = load(tmp_path, ALPHA + BETA + KEYS)
    alpha = network.chain(10)
    assert alpha.input_settler == Address((10).to_bytes(20, "big"))
    assert alpha.permit2 == PERMIT2
    assert alpha.rpc_urls == ("http://one", "http://two")
    usdc = alpha.tokens["USDC"]
    assert alpha.token(usdc.address) is usdc
    assert alpha.symbol(usdc.address) == "USDC"
    assert alpha.token(Address(bytes(20))) is None
    assert usdc.erc3009 is not None
    assert network.key_references("attester") == ("env:A", "env:B")


def test_final_depth__is_deeper_than_the_deepest_reorganisation(tmp_path: Path) -> None:
    alpha = load(tmp_path, ALPHA).chain(10)
    assert alpha.final_depth == 4
    assert alpha.model_copy(update={"confirmations": 9}).final_depth == 9


def test_route__two_chains_and_one__who_proves(tmp_path: Path) -> None:
    network = load(tmp_path, ALPHA + BETA)
    across = network.route(10, 11)
    assert (across.input_oracle, across.output_oracle) == (network.chain(10).oracle, network.chain(11).oracle)
    assert not across.same_chain
    within = network.route(10, 10)
    assert within.input_oracle == within.output_oracle == network.chain(10).output_settler
    assert within.same_chain


def test_chain__not_served__unsupported_chain(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load(tmp_path, ALPHA).chain(99)
    assert caught.value.reason == ErrorReason.ERROR_REASON_UNSUPPORTED_CHAIN
    assert caught.value.metadata == {"chain_id": "99"}


BROKEN = {
    "empty": ("", "chains"),
    "no TOML": ("chains = [", "TOML"),
    "same id twice": (ALPHA + ALPHA, "two chains"),
    "unknown field": (ALPHA.replace("name =", "nick ="), "chains.0"),
    "no endpoint": (ALPHA.replace('["http://one", "http://two"]', "[]"), "rpc_urls"),
    "short address": (ALPHA.replace("0x1111111111111111111111111111111111111111", "0x11"), "output_settler"),
    "negative depth": (ALPHA.replace("max_reorg_depth = 3", "max_reorg_depth = -1"), "max_reorg_depth"),
    "no confirmation": (ALPHA.replace("confirmations = 2", "confirmations = 0"), "confirmations"),
    "one address twice": (ALPHA.replace("3" * 40, "abcdef" * 6 + "abcd"), "two tokens"),
    "a key in the file": (ALPHA + '[[keys]]\nrole = "solver"\nkey = "0x12"', "keys.0.key"),
}


@pytest.mark.parametrize(("text", "place"), BROKEN.values(), ids=BROKEN.keys())
def test_load__broken__one_line_that_names_the_place(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(InvalidNetworkError, match=place) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_load__no_file__says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidNetworkError, match="No such file"):
        load_network(tmp_path / "none.toml")


def test_write__read_again__is_the_same_network(tmp_path: Path) -> None:
    network = load(tmp_path, ALPHA.replace('"alpha"', r'"al \"pha\" \u007f ünï 😀"') + BETA + KEYS)
    file = tmp_path / "written.toml"
    write_network(file, network)
    assert load_network(file) == network
    assert format_address(network.chains[0].oracle) in format_network(network)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.toml", "written.toml"]
