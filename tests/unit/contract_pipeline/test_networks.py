"""The file of networks, and that no secret can stand in it."""

import json
from pathlib import Path

import pytest
from intentmesh.chain.config import InvalidNetworkError, load_network
from intentmesh.cli.contracts_deploy import signer_of
from intentmesh.cli.contracts_live import wishes
from intentmesh.contract_pipeline.development_accounts import DEVELOPMENT_ACCOUNTS
from intentmesh.contract_pipeline.errors import InvalidNetworksError, PipelineError
from intentmesh.contract_pipeline.explorers.publishing import explorers_of
from intentmesh.contract_pipeline.networks import load_networks, read_secret, read_url
from intentmesh.embedded.deployment import DEPLOYER, LOCAL_ACCOUNTS
from intentmesh.embedded.programs import REPOSITORY

ATTESTER = "0x00000000000000000000000000000000000A11cE"
# Account 2 of every Anvil chain.
PUBLIC = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
GOOD = f"""
[networks.testnet]
version = "1"
salt = "x"
deployer_key = "env:KEY"
attesters = ["{ATTESTER}"]
threshold = 1
[[networks.testnet.chains]]
chain_id = 5
name = "five"
rpc_urls = ["env:RPC"]
"""


def load(tmp_path: Path, text: str) -> object:
    file = tmp_path / "networks.toml"
    file.write_text(text)
    return load_networks(file)["testnet"]


def test_networks__of_the_project__are_two_and_mainnet_needs_a_word_and_testnet_first() -> None:
    networks = load_networks(REPOSITORY / "contracts" / "networks.toml")
    assert set(networks) == {"testnet", "mainnet"}
    assert networks["mainnet"].needs_confirmation
    assert networks["mainnet"].after == "testnet"
    assert not any(chain.test_tokens for chain in networks["mainnet"].chains)


def test_testnet_of_the_project__two_chains__orders_cross_in_both_directions() -> None:
    chains = load_networks(REPOSITORY / "contracts" / "networks.toml")["testnet"].chains
    assert all(chain.test_tokens for chain in chains)
    first, second = (chain.name for chain in chains)
    crossing = [(wish.origin, wish.destination) for wish in wishes([first, second]) if wish.destination]
    assert crossing == [(first, second), (second, first)]


def test_wishes__one_chain__none_crosses() -> None:
    assert {(wish.origin, wish.destination) for wish in wishes(["alone"])} == {("alone", None)}


def test_network__unless_told_otherwise__needs_confirmation(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).needs_confirmation  # type: ignore[attr-defined]  # a NetworkTarget


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ('deployer_key = "env:KEY"', 'deployer_key = "0x11"', "deployer_key"),
        ('deployer_key = "env:KEY"', "", "deployer_key is missing"),
        ("threshold = 1", "threshold = 2", "threshold 2 of only 1"),
        (f'["{ATTESTER}"]', f'["{ATTESTER}", "{ATTESTER}"]', "twice"),
        ('rpc_urls = ["env:RPC"]', "", "rpc_urls"),
        ('rpc_urls = ["env:RPC"]', 'rpc_urls = ["env:RPC"]\nlocal = true', "not both"),
        ('salt = "x"', 'salt = "x"\nafter = "nowhere"', "nowhere"),
        ('version = "1"', 'version = "../1"', "version"),
        (ATTESTER, PUBLIC, f"{PUBLIC} is a development account"),
        (
            'rpc_urls = ["env:RPC"]',
            'rpc_urls = ["env:RPC"]\ntest_tokens = [{ symbol = "USDC", name = "USD Coin", decimals = 6 }]',
            "anyone can mint USDC",
        ),
    ],
)
def test_network__with_a_fault__is_refused_by_name(tmp_path: Path, before: str, after: str, fault: str) -> None:
    with pytest.raises(InvalidNetworksError, match=fault):
        load(tmp_path, GOOD.replace(before, after))


def test_attesters__one_local_and_one_public_chain__no_development_account_is_taken(tmp_path: Path) -> None:
    local = '[[networks.testnet.chains]]\nchain_id = 6\nname = "six"\nlocal = true\n'
    with pytest.raises(InvalidNetworksError, match="development account"):
        load(tmp_path, GOOD.replace(ATTESTER, PUBLIC) + local)


def test_attesters__all_chains_local__development_accounts_are_taken(tmp_path: Path) -> None:
    load(tmp_path, GOOD.replace(ATTESTER, PUBLIC).replace('rpc_urls = ["env:RPC"]', "local = true"))


def test_development_accounts__of_the_mesh__are_among_them() -> None:
    assert {account.address for account in LOCAL_ACCOUNTS} | {DEPLOYER} <= DEVELOPMENT_ACCOUNTS


def test_deployer__key_that_everybody_knows__pays_on_local_chains_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_TEST_KEY", "0x" + LOCAL_ACCOUNTS[0].private_key.hex())
    text = GOOD.replace("env:KEY", "env:PIPELINE_TEST_KEY")
    with pytest.raises(PipelineError, match="development account"):
        signer_of(load(tmp_path, text))  # type: ignore[arg-type]  # a NetworkTarget
    local = text.replace('rpc_urls = ["env:RPC"]', "local = true")
    assert signer_of(load(tmp_path, local)).address == LOCAL_ACCOUNTS[0].address  # type: ignore[arg-type]  # as above


def test_key__written_out_in_the_file__is_not_repeated_in_the_message(tmp_path: Path) -> None:
    secret = "0x" + "ab" * 32
    with pytest.raises(InvalidNetworksError) as caught:
        load(tmp_path, GOOD.replace('"env:KEY"', f'"{secret}"'))
    assert secret not in str(caught.value)


def test_url__by_reference__comes_from_the_environment() -> None:
    assert read_url("env:RPC", {"RPC": "http://node"}) == "http://node"
    assert read_url("http://other", {}) == "http://other"
    with pytest.raises(InvalidNetworksError, match="RPC"):
        read_url("env:RPC", {})


def test_url__in_the_environment_without_its_scheme__is_not_repeated_in_the_message() -> None:
    with pytest.raises(InvalidNetworksError, match="RPC") as caught:
        read_url("env:RPC", {"RPC": "node.example/v2/ABCDEF"})
    assert "ABCDEF" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://node.example", "https://node.example/", "http://127.0.0.1:8545", "env:RPC"])
def test_rpc_url__that_can_hold_no_secret__may_stand_in_the_file(tmp_path: Path, url: str) -> None:
    load(tmp_path, GOOD.replace("env:RPC", url))


@pytest.mark.parametrize(
    "url",
    [
        "https://user:ABCDEF@node.example",
        "https://node.example/v2/ABCDEF",
        "https://node.example?apikey=ABCDEF",
        "https://node.example/#ABCDEF",
        "node.example/ABCDEF",
        "env:ABCDEF-",
    ],
)
def test_rpc_url__that_may_hold_a_secret__is_refused_without_repeating_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidNetworksError, match="rpc_urls") as caught:
        load(tmp_path, GOOD.replace("env:RPC", url))
    assert "ABCDEF" not in str(caught.value)
    assert "env:NAME" in str(caught.value)


CHAIN = {"chain_id": 5, "name": "five", "rpc_urls": ["env:PIPELINE_TEST_RPC"]}
CONTRACTS = {"input_settler": ATTESTER, "output_settler": ATTESTER, "oracle": ATTESTER}
RECORD = json.dumps({"network": {"chains": [{**CHAIN, **CONTRACTS}]}})


def test_record_as_chains_file__url_by_reference__is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "testnet-1.json"
    file.write_text(RECORD)
    with pytest.raises(InvalidNetworkError, match="PIPELINE_TEST_RPC"):
        load_network(file)
    monkeypatch.setenv("PIPELINE_TEST_RPC", "http://node/secret")
    assert load_network(file).chains[0].rpc_urls == ("http://node/secret",)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"network": 3}', '{"network": {"chains": [{}]}}'])
def test_record_as_chains_file__something_else__is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "record.json"
    file.write_text(text)
    with pytest.raises(InvalidNetworkError):
        load_network(file)


def explorers(tmp_path: Path, text: str) -> object:
    network = load(tmp_path, f"{GOOD}explorers = [{text}]\n")
    return explorers_of(network)[5]  # type: ignore[arg-type]  # a NetworkTarget


def test_explorers__by_kind__with_the_key_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{ kind = "sourcify" }, { kind = "etherscan", api_key = "env:EXPLORER_TEST_KEY" }'
    with pytest.raises(InvalidNetworksError, match="EXPLORER_TEST_KEY"):
        explorers(tmp_path, text)
    monkeypatch.setenv("EXPLORER_TEST_KEY", "a secret key")
    first, second = explorers(tmp_path, text)  # type: ignore[misc]  # two explorers
    assert first.name == "Sourcify at sourcify.dev"
    assert second.name == "Etherscan at api.etherscan.io"
    assert "secret" not in repr(second)


def test_explorers__none_configured__are_none(tmp_path: Path) -> None:
    assert explorers(tmp_path, "") == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{ kind = "another" }', "explorers"),
        ('{ kind = "etherscan" }', "api_key"),
        ('{ kind = "etherscan", api_key = "ABCDEF" }', "api_key"),
        ('{ kind = "sourcify", url = "http://user:password@host/" }', "url"),
        ('{ kind = "sourcify", url = "https://host/v2?apikey=ABCDEF" }', "url"),
    ],
)
def test_explorers__with_a_fault__are_refused_without_repeating_it(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(InvalidNetworksError, match=fault) as caught:
        explorers(tmp_path, text)
    assert "ABCDEF" not in str(caught.value)
    assert "password" not in str(caught.value)


def test_secret__in_a_file__is_read_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("abc\n")
    assert read_secret(f"file:{file}") == "abc"
    with pytest.raises(InvalidNetworksError, match="should hold a key"):
        read_secret(f"file:{file}.missing")
