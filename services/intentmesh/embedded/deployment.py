"""Puts our contracts on fresh local chains: Permit2 at its canonical address, settlers, oracle, tokens with funds.

Everything stands at an address that follows from its code and arguments (CREATE2, with a salt per chain so that no two
chains share an address), so a second start finds what is there without any notes. Works on Anvil only.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eth_abi.abi import decode

from intentmesh.chain import wire
from intentmesh.chain.codec import load_abi
from intentmesh.chain.config import ChainConfig, Erc3009Domain, TokenConfig
from intentmesh.chain.endpoints import EndpointPool
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.create2 import CREATE2_DEPLOYER, create2_address, create2_calldata, salt_of
from intentmesh.contract_pipeline.errors import NotBuiltError
from intentmesh.domain.digests import PERMIT2
from intentmesh.domain.signatures import address_of
from intentmesh.domain.types import UINT256_MAX, Address, ChainId, format_address, parse_address
from intentmesh.embedded.errors import EmbeddedError
from intentmesh.embedded.programs import REPOSITORY

ARTIFACTS = REPOSITORY / "build" / "contracts"
RPC_TIMEOUT_SECONDS = 30.0
DEPLOYMENT_DEADLINE_SECONDS = 60.0
RECEIPT_POLL_SECONDS = 0.02
# Given outright: the node would estimate the later transactions against a state without the earlier ones.
DEPLOYMENT_GAS = 5_000_000
CALL_GAS = 150_000
LOCAL_DOMAIN_VERSION = "1"
NATIVE_FUNDS_WEI = 10_000 * 10**18


class DeploymentError(EmbeddedError):
    """The contracts could not be put on a local chain; the message tells what to do."""


@dataclass(frozen=True, slots=True)
class LocalAccount:
    """One of the accounts that every Anvil chain has: known to everybody, worth nothing anywhere else."""

    role: str
    private_key: bytes

    @property
    def address(self) -> Address:
        return address_of(self.private_key)


# The accounts 0 to 5 of Anvil's development mnemonic, by what they are in the local mesh.
LOCAL_ACCOUNTS = tuple(
    LocalAccount(role, bytes.fromhex(key))
    for role, key in (
        ("user", "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
        ("solver", "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
        ("attester", "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"),
        ("attester", "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"),
        ("operator", "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a"),
        ("executor", "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"),
    )
)
# Account 9, which has no other part in the mesh.
DEPLOYER = parse_address("0xa0Ee7A142d267C1f36714E4a8F75612F20a79720")


def local_accounts(role: str) -> tuple[LocalAccount, ...]:
    return tuple(account for account in LOCAL_ACCOUNTS if account.role == role)


@dataclass(frozen=True, slots=True)
class LocalToken:
    """A token of the local chains. `funds` is what each user and solver gets at first, in whole tokens."""

    symbol: str
    name: str
    decimals: int
    funds: int


LOCAL_TOKENS = (LocalToken("USDC", "USD Coin", 6, 1_000_000), LocalToken("WETH", "Wrapped Ether", 18, 1_000))


@dataclass(frozen=True, slots=True)
class LocalChain:
    """A running Anvil chain."""

    chain_id: ChainId
    name: str
    rpc_url: str
    ws_url: str | None = None


@dataclass(frozen=True, slots=True)
class DeploymentTerms:
    """What is the same on every local chain. By default: the local accounts in their roles, every attester needed."""

    attesters: tuple[Address, ...] = field(
        default_factory=lambda: tuple(account.address for account in local_accounts("attester"))
    )
    # Distinct attesters whose signatures prove a fill; None means all.
    threshold: int | None = None
    # Get tokens and approve Permit2.
    users: tuple[Address, ...] = field(
        default_factory=lambda: tuple(account.address for account in local_accounts("user"))
    )
    # Get tokens and approve the output settler.
    solvers: tuple[Address, ...] = field(
        default_factory=lambda: tuple(account.address for account in local_accounts("solver"))
    )
    tokens: tuple[LocalToken, ...] = LOCAL_TOKENS
    confirmations: int = 1
    max_reorg_depth: int = 0
    block_time_seconds: float = 1.0

    @property
    def needed(self) -> int:
        return len(self.attesters) if self.threshold is None else self.threshold


async def deploy_local_chains(
    chains: Sequence[LocalChain], terms: DeploymentTerms, artifacts: Path = ARTIFACTS
) -> tuple[ChainConfig, ...]:
    """Deploys on all chains at the same time what is not there yet, and tells where everything is.

    Raises DeploymentError, and ChainUnavailable when a chain does not answer.
    """
    code = Artifacts(artifacts)
    tasks = [asyncio.ensure_future(deploy_local_chain(chain, terms, code)) for chain in chains]
    try:
        async with asyncio.timeout(DEPLOYMENT_DEADLINE_SECONDS):
            return tuple(await asyncio.gather(*tasks))
    except NotBuiltError as error:
        raise DeploymentError(str(error)) from error
    except TimeoutError:
        raise DeploymentError("a local chain did not mine the deployment in time") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def deploy_local_chain(chain: LocalChain, terms: DeploymentTerms, code: Artifacts) -> ChainConfig:
    """One chain of `deploy_local_chains`."""
    node = _Node(chain, code)
    try:
        await node.place(PERMIT2, code.runtime_template("Permit2").code)
        input_settler = await node.create("InputSettlerEscrow")
        output_settler = await node.create("OutputSettler")
        oracle = await node.create("AttestedOracle", [list(terms.attesters), terms.needed])
        tokens = [await node.create("LocalToken", [one.name, one.symbol, one.decimals]) for one in terms.tokens]
        spenders = dict.fromkeys(terms.users, PERMIT2) | dict.fromkeys(terms.solvers, output_settler)
        for account, spender in spenders.items():
            for token, address in zip(terms.tokens, tokens, strict=True):
                await node.fund(account, token, address, spender)
        await node.settle()
    finally:
        await node.close()
    return ChainConfig(
        chain_id=chain.chain_id,
        name=chain.name,
        rpc_urls=(chain.rpc_url,),
        ws_url=chain.ws_url,
        confirmations=terms.confirmations,
        max_reorg_depth=terms.max_reorg_depth,
        block_time_seconds=terms.block_time_seconds,
        input_settler=input_settler,
        output_settler=output_settler,
        oracle=oracle,
        output_settler_accepts_surplus=True,
        tokens={
            token.symbol: TokenConfig(
                address=address,
                decimals=token.decimals,
                erc3009=Erc3009Domain(name=token.name, version=LOCAL_DOMAIN_VERSION),
            )
            for token, address in zip(terms.tokens, tokens, strict=True)
        },
        attestation_threshold=terms.needed,
    )


class _Node:
    """One Anvil chain during the deployment. Sends without waiting; `settle` waits for all of it."""

    def __init__(self, chain: LocalChain, code: Artifacts) -> None:
        self._rpc = EndpointPool(chain.chain_id, (chain.rpc_url,), RPC_TIMEOUT_SECONDS)
        self._code = code
        self._salt = salt_of(f"intentmesh local chain {chain.chain_id}")
        self._token_abi = load_abi("token")
        self._name = chain.name
        self._sent: dict[str, str] = {}
        self._spendable: set[Address] = set()

    async def close(self) -> None:
        await self._rpc.close()

    async def place(self, address: Address, runtime: bytes) -> None:
        """Code at an address, as if it had always been there."""
        if not await self._has_code(address):
            await self._rpc.request("anvil_setCode", format_address(address), wire.data(runtime))

    async def create(self, name: str, arguments: Sequence[object] = ()) -> Address:
        """A contract, unless it is there."""
        creation = self._code.creation_code(name, arguments)
        address = create2_address(self._salt, creation)
        if not await self._has_code(address):
            await self._send(
                f"deploy {name}", DEPLOYER, CREATE2_DEPLOYER, create2_calldata(self._salt, creation), DEPLOYMENT_GAS
            )
        return address

    async def fund(self, account: Address, token: LocalToken, address: Address, spender: Address) -> None:
        """Tokens for the account and its approval for the spender, once: the approval, never used up, is the mark."""
        allowance = self._token_abi.function("allowance")
        call = {"to": format_address(address), "data": wire.data(allowance.encode(account, spender))}
        answer = wire.read_data(await self._rpc.request("eth_call", call, "pending"))
        if answer and decode(["uint256"], answer)[0] > 0:
            return
        mint = self._token_abi.function("mint").encode(account, token.funds * 10**token.decimals)
        await self._send(f"mint {token.symbol}", DEPLOYER, address, mint, CALL_GAS)
        approve = self._token_abi.function("approve").encode(spender, UINT256_MAX)
        await self._send(f"approve {token.symbol}", account, address, approve, CALL_GAS)

    async def settle(self) -> None:
        """Waits until all that was sent is mined. Raises DeploymentError when something failed."""
        for transaction_hash, purpose in self._sent.items():
            while (found := await self._rpc.request("eth_getTransactionReceipt", transaction_hash)) is None:  # noqa: ASYNC110 (another process mines)
                await asyncio.sleep(RECEIPT_POLL_SECONDS)
            if not wire.receipt(found).succeeded:
                raise DeploymentError(f"{purpose} failed on chain {self._name}: rebuild with `make contracts`")

    async def _has_code(self, address: Address) -> bool:
        return await self._rpc.request("eth_getCode", format_address(address), "latest") != "0x"

    async def _send(self, purpose: str, sender: Address, to: Address, data: bytes, gas: int) -> None:
        await self._make_spendable(sender)
        message = {
            "from": format_address(sender),
            "to": format_address(to),
            "data": wire.data(data),
            "gas": hex(gas),
        }
        self._sent[str(await self._rpc.request("eth_sendTransaction", message))] = purpose

    async def _make_spendable(self, account: Address) -> None:
        """Anvil signs for its own accounts and, when told so, for any other."""
        if account in self._spendable:
            return
        text = format_address(account)
        await self._rpc.request("anvil_impersonateAccount", text)
        if await self._rpc.request("eth_getBalance", text, "latest") == "0x0":
            await self._rpc.request("anvil_setBalance", text, hex(NATIVE_FUNDS_WEI))
        self._spendable.add(account)
