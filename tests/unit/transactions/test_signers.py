"""Keys and what they sign."""

from pathlib import Path

import pytest
from eth_account import Account
from intentmesh.chain.records import TransactionHash
from intentmesh.domain.keccak import keccak
from intentmesh.domain.signatures import recover
from intentmesh.domain.types import Address, ChainId, format_address
from intentmesh.transactions.model import Price
from intentmesh.transactions.signers import KeyUnavailableError, Signer, load_key, load_signer

KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
TO = Address(b"\x11" * 20)


def test_sign_transaction__an_independent_reader__finds_signer_and_hash() -> None:
    signed = Signer(KEY).sign_transaction(
        chain_id=ChainId(31337), nonce=7, to=TO, data=b"\x01", value=3, gas_limit=50_000, price=Price(100, 2)
    )
    assert Account.recover_transaction(signed.raw) == format_address(Signer(KEY).address)
    assert TransactionHash(keccak(signed.raw)) == signed.hash
    assert signed.raw[0] == 2


def test_sign_digest__recovered__is_the_signer() -> None:
    signer = Signer(KEY)
    digest = keccak(b"statement")
    assert recover(digest, signer.sign_digest(digest)) == signer.address
    assert signer.sign_digest(digest) == signer.sign_digest(digest)


def test_signer__shown__has_no_key_in_it() -> None:
    assert KEY.hex() not in repr(Signer(KEY))


@pytest.mark.parametrize("text", [KEY.hex(), "0x" + KEY.hex(), "0x" + KEY.hex().upper() + "\n"])
def test_load_key__from_variable_and_file__is_read(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOME_KEY", text.strip())
    file = tmp_path / "key"
    file.write_text(text, encoding="ascii")
    assert load_key("env:SOME_KEY") == load_key(f"file:{file}") == KEY


@pytest.mark.parametrize(
    "content", ["", "0x12", "zz" * 32, "00" * 32, "ff" * 32], ids=["empty", "short", "no hex", "zero", "beyond"]
)
def test_load_key__no_key_there__is_refused_without_showing_it(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", content)
    with pytest.raises(KeyUnavailableError, match="env:SOME_KEY") as caught:
        load_signer("env:SOME_KEY")
    assert len(content) < 4 or content not in str(caught.value)


@pytest.mark.parametrize("reference", ["env:NOT_SET_ANYWHERE", "file:/nowhere/key", KEY.hex(), ""])
def test_load_key__wrong_reference__is_refused_without_showing_a_key(reference: str) -> None:
    with pytest.raises(KeyUnavailableError) as caught:
        load_key(reference)
    assert KEY.hex() not in str(caught.value)
