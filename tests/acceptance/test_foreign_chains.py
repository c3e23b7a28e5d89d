"""The mesh on chains and contracts that somebody else made: only a file tells of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_abi.abi import encode
from eth_account import Account
from intentmesh.embedded.anvil import AnvilChain, AnvilOptions, ChainId
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.parts import PartStack
from intentmesh.embedded.probes import json_rpc

from tests.fixtures.background import BackgroundLoop
from tests.fixtures.mesh import RunningMesh

ARTIFACTS = Path(__file__).resolve().parents[2] / "build" / "contracts"
PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
# Other people's mnemonic, names, ids and decimals: nothing here is what `intentmesh up` would have made.
MNEMONIC = "legal winner thank year wave sausage worth useful legal winner thank yellow"
NAMES = {"gamma": ChainId(4242), "delta": ChainId(4343)}
DECIMALS = 8
UNIT = 10**DECIMALS
MAX = 2**256 - 1

Account.enable_unaudited_hdwallet_features()


def _account(index: int) -> Account:
    return Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")


USER, SOLVER, ATTESTER_1, ATTESTER_2, DEPLOYER = (_account(index) for index in (3, 4, 5, 6, 7))


@dataclass(frozen=True, slots=True)
class Deployed:
    """What somebody deployed on one chain."""

    name: str
    chain_id: int
    rpc_url: str
    input_settler: str
    output_settler: str
    oracle: str
    token: str


class Stranger:
    """Deploys with plain transactions of their own account, as `cast` or a script of theirs would."""

    def __init__(self, chain: AnvilChain, loop: BackgroundLoop) -> None:
        self._chain = chain
        self._loop = loop

    def deploy_all(self) -> Deployed:
        permit2 = json.loads((ARTIFACTS / "Permit2.sol" / "Permit2.json").read_text())
        self._call("anvil_setCode", PERMIT2, permit2["deployedBytecode"]["object"])
        attesters = [ATTESTER_1.address, ATTESTER_2.address]
        token = self._deploy("LocalToken", ["string", "string", "uint8"], ["Stranger Dollar", "SUSD", DECIMALS])
        deployed = Deployed(
            name=self._chain.name,
            chain_id=self._chain.chain_id,
            rpc_url=self._chain.rpc_url,
            input_settler=self._deploy("InputSettlerEscrow"),
            output_settler=self._deploy("OutputSettler"),
            oracle=self._deploy("AttestedOracle", ["address[]", "uint256"], [attesters, 2]),
            token=token,
        )
        for holder in (USER, SOLVER):
            self._send(DEPLOYER, token, "0x40c10f19", ["address", "uint256"], [holder.address, 1_000 * UNIT])
        self._send(USER, token, "0x095ea7b3", ["address", "uint256"], [PERMIT2, MAX])
        return deployed

    def _deploy(self, name: str, types: list[str] | None = None, arguments: list[object] | None = None) -> str:
        artifact = json.loads((ARTIFACTS / f"{name}.sol" / f"{name}.json").read_text())
        code = artifact["bytecode"]["object"] + encode(types or [], arguments or []).hex()
        receipt = self._transact({"from": DEPLOYER.address, "data": code})
        address: str = receipt["contractAddress"]
        return address

    def _send(self, sender: Account, to: str, selector: str, types: list[str], arguments: list[object]) -> None:
        self._transact({"from": sender.address, "to": to, "data": selector + encode(types, arguments).hex()})

    def _transact(self, transaction: dict[str, str]) -> dict[str, str]:
        transaction_hash = self._call("eth_sendTransaction", transaction)
        # Anvil answers a moment before it mines.
        while not isinstance(receipt := self._call("eth_getTransactionReceipt", transaction_hash), dict):
            continue
        assert receipt["status"] == "0x1"
        return receipt

    def _call(self, method: str, *parameters: object) -> object:
        return self._loop.run(json_rpc(self._chain.port, method, *parameters))


@pytest.fixture
def foreign_chains(tmp_path: Path, background_loop: BackgroundLoop) -> Iterator[list[Deployed]]:
    """Two chains with contracts, none of them made by our code."""
    stack = PartStack()
    with DataFolder(tmp_path / "strangers") as folder:
        # Mines at once while the stranger deploys, then every second like any chain.
        chains = [AnvilChain(folder, name, AnvilOptions(id_, mnemonic=MNEMONIC)) for name, id_ in NAMES.items()]
        try:
            background_loop.run(stack.start(*chains))
            deployed = [Stranger(chain, background_loop).deploy_all() for chain in chains]
            for chain in chains:
                background_loop.run(json_rpc(chain.port, "evm_setIntervalMining", 1))
            yield deployed
        finally:
            background_loop.run(stack.stop())


def test_chains_file__contracts_of_somebody_else__swap_and_bridge_settle(
    tmp_path: Path, foreign_chains: list[Deployed], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "solver.key").write_text(SOLVER.key.hex())
    for name, account in (("USER", USER), ("FIRST", ATTESTER_1), ("SECOND", ATTESTER_2)):
        monkeypatch.setenv(f"STRANGER_{name}", account.key.hex())
    network = tmp_path / "network.toml"
    network.write_text(_network_file(foreign_chains))

    with RunningMesh(tmp_path / "mesh", "--chains", str(network), "--price", "SUSD=1") as mesh:
        assert [chain["name"] for chain in mesh.endpoints["chains"]] == ["gamma", "delta"]
        keys = {account["role"]: account["private_key"] for account in mesh.endpoints["accounts"]}
        assert keys["solver"] == "", "a key that the mesh was given by reference is not written down"
        bridge = mesh.cli("submit", "--from", "gamma", "--to", "delta", "--sell", "SUSD:20", "--buy", "SUSD:19.8")
        assert bridge.returncode == 0, bridge.stderr
        transfer = mesh.cli("submit", "--from", "delta", "--sell", "SUSD:5", "--buy", "SUSD:4.9")
        assert transfer.returncode == 0, transfer.stderr
        watched = mesh.cli("watch", bridge.stdout.strip(), transfer.stdout.strip())
        assert watched.returncode == 0, watched.stdout + watched.stderr
        balances = [json.loads(line) for line in mesh.cli("balances", USER.address, "--json").stdout.splitlines()]
        held = {one["chain"]: int(one["amount"]) for one in balances if one["token"] == "SUSD"}
        assert held == {"gamma": 980 * UNIT, "delta": 1_000 * UNIT + 1_980_000_000 - 10_000_000}


def _network_file(chains: list[Deployed]) -> str:
    text = ""
    for chain in chains:
        text += f"""
[[chains]]
chain_id = {chain.chain_id}
name = "{chain.name}"
rpc_urls = ["{chain.rpc_url}"]
confirmations = 1
max_reorg_depth = 2
block_time_seconds = 1.0
input_settler = "{chain.input_settler}"
output_settler = "{chain.output_settler}"
oracle = "{chain.oracle}"
permit2 = "{PERMIT2}"
attestation_threshold = 2

[chains.tokens.SUSD]
address = "{chain.token}"
decimals = {DECIMALS}
"""
    keys = [
        ("user", "env:STRANGER_USER"),
        ("solver", "file:solver.key"),
        ("attester", "env:STRANGER_FIRST"),
        ("attester", "env:STRANGER_SECOND"),
    ]
    return text + "".join(f'\n[[keys]]\nrole = "{role}"\nkey = "{key}"\n' for role, key in keys)
