"""Deployments that are not what they should be: verification names the difference."""

from collections.abc import Awaitable, Callable

import pytest
from intentmesh.chain import wire
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.create2 import CREATE2_DEPLOYER
from intentmesh.contract_pipeline.deployment import ChainDeployer
from intentmesh.contract_pipeline.errors import DeploymentError
from intentmesh.contract_pipeline.inspection import Deployed
from intentmesh.contract_pipeline.plan import ChainPlan, plan_network
from intentmesh.contract_pipeline.reports import Finding
from intentmesh.domain.digests import PERMIT2
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address, format_address
from intentmesh.embedded.deployment import local_accounts
from intentmesh.embedded.probes import json_rpc
from intentmesh.transactions.signers import Signer

from tests.fixtures.servers import LocalChains
from tests.integration.contract_pipeline.conftest import DEPLOYER_KEY, make_target

STRANGER = format_address(local_accounts("user")[0].address)


class Subject:
    """The deployment on alpha, and a way to look at it as if other things had been meant."""

    def __init__(self, chains: LocalChains, artifacts: Artifacts) -> None:
        self._chains = chains
        self._artifacts = artifacts
        self.plan = self.plan_of()
        self.deployed: list[Deployed] = []

    def plan_of(self, **changes: object) -> ChainPlan:
        return plan_network(make_target(self._chains, **changes), self._artifacts)[0]

    async def deploy(self) -> None:
        async with self._deployer(self.plan) as deployer:
            await deployer.prepare_local()
            self.deployed = await deployer.deploy({})

    async def verify(self) -> list[Finding]:
        async with self._deployer(self.plan) as deployer:
            return await deployer.verify(self.deployed)

    async def verify_as(self, plan: ChainPlan, role: str) -> list[Finding]:
        """As if `plan` had been meant: its contract of that role, where the real one stands."""
        real = next(one for one in self.deployed if one.planned.role == role)
        meant = Deployed(plan.contract(role), real.chain_id, real.address, real.transaction, sent=False)
        async with self._deployer(plan) as deployer:
            return await deployer.verify([meant])

    async def change_code(self, role: str, change: Callable[[bytearray], object]) -> None:
        address = format_address(self.plan.contract(role).address)
        port = self._chains.alpha.port
        code = bytearray(wire.read_data(await json_rpc(port, "eth_getCode", address, "latest")))
        change(code)
        await json_rpc(port, "anvil_setCode", address, wire.data(bytes(code)))

    def offset_of(self, name: str, immutable: str) -> int:
        return self._artifacts.runtime_template(name).immutables[immutable][0]

    def _deployer(self, plan: ChainPlan) -> ChainDeployer:
        return ChainDeployer(plan, self._chains.alpha.rpc_url, Signer(DEPLOYER_KEY), self._artifacts)


@pytest.fixture
async def subject(chains: LocalChains, artifacts: Artifacts) -> Subject:
    subject = Subject(chains, artifacts)
    await subject.deploy()
    return subject


def checks(findings: list[Finding]) -> list[str]:
    return [finding.check for finding in findings]


async def test_verify__untouched__finds_nothing(subject: Subject) -> None:
    assert await subject.verify() == []


@pytest.mark.parametrize("role", ["input_settler", "output_settler", "oracle", "USDC"])
async def test_verify__one_byte_of_the_instructions__is_named(subject: Subject, role: str) -> None:
    def flip(code: bytearray) -> None:
        code[100] ^= 0x01

    await subject.change_code(role, flip)
    (finding,) = await subject.verify()
    assert finding.check == "instructions"
    assert finding.where.startswith(role)
    assert "1 bytes differ; at offset 100" in finding.what


async def test_verify__one_byte_of_the_metadata__is_named_as_such(subject: Subject) -> None:
    def flip(code: bytearray) -> None:
        code[-20] ^= 0x01

    await subject.change_code("output_settler", flip)
    (finding,) = await subject.verify()
    assert finding.check == "metadata"


async def test_verify__changed_immutable__names_it_with_both_values(subject: Subject) -> None:
    offset = subject.offset_of("AttestedOracle", "threshold")

    def lower(code: bytearray) -> None:
        code[offset + 31] = 1

    await subject.change_code("oracle", lower)
    (finding,) = await subject.verify()
    assert (finding.check, finding.what) == ("immutable threshold", "is 1, should be 2")


async def test_verify__code_with_something_behind_it__is_named(subject: Subject) -> None:
    await subject.change_code("output_settler", lambda code: code.extend(b"\x00"))
    (finding,) = await subject.verify()
    assert finding.check == "runtime code"


async def test_verify__nothing_there__is_named(subject: Subject) -> None:
    await subject.change_code("oracle", lambda code: code.clear())
    (finding,) = await subject.verify()
    assert finding.check == "contract"
    assert "there is no contract" in finding.what


async def test_verify__other_attester_set__names_the_argument_and_the_accounts(subject: Subject) -> None:
    meant = subject.plan_of(attesters=[format_address(local_accounts("attester")[0].address), STRANGER])
    findings = await subject.verify_as(meant, "oracle")
    assert "constructor argument attesters" in checks(findings)
    argument = next(one for one in findings if one.check == "constructor argument attesters")
    assert STRANGER.lower() in argument.what


async def test_verify__attester_set_changed_in_storage__names_the_accounts(
    subject: Subject, chains: LocalChains
) -> None:
    address = format_address(subject.plan.contract("oracle").address)
    second = local_accounts("attester")[1].address
    slot = await slot_holding(
        lambda key: json_rpc(chains.alpha.port, "eth_getStorageAt", address, key, "latest"), second
    )
    await json_rpc(chains.alpha.port, "anvil_setStorageAt", address, slot, "0x" + STRANGER[2:].rjust(64, "0"))
    (finding,) = await subject.verify()
    assert finding.check == "attester set"
    assert f"not configured: {STRANGER}" in finding.what
    assert f"missing: {format_address(second)}" in finding.what


async def test_verify__two_contracts_that_are_wrong__are_both_named(subject: Subject, chains: LocalChains) -> None:
    def flip(code: bytearray) -> None:
        code[100] ^= 0x01

    await subject.change_code("output_settler", flip)
    address = format_address(subject.plan.contract("oracle").address)
    second = local_accounts("attester")[1].address
    slot = await slot_holding(
        lambda key: json_rpc(chains.alpha.port, "eth_getStorageAt", address, key, "latest"), second
    )
    await json_rpc(chains.alpha.port, "anvil_setStorageAt", address, slot, "0x" + STRANGER[2:].rjust(64, "0"))
    assert checks(await subject.verify()) == ["instructions", "attester set"]


async def test_verify__other_threshold__names_argument_and_immutable(subject: Subject) -> None:
    findings = await subject.verify_as(subject.plan_of(threshold=1), "oracle")
    assert {"constructor argument threshold", "immutable threshold", "address"} <= set(checks(findings))
    argument = next(one for one in findings if one.check == "constructor argument threshold")
    assert argument.what == "was 2, should be 1"


async def test_verify__other_token_decimals__names_the_argument(subject: Subject) -> None:
    tokens = [{"symbol": "USDC", "name": "USD Coin", "decimals": 18}]
    meant = ChainPlan(
        subject.plan.chain,
        subject.plan_of(chains=[{"chain_id": 31337, "name": "alpha", "local": True, "test_tokens": tokens}]).contracts,
    )
    findings = await subject.verify_as(meant, "USDC")
    assert "constructor argument decimals" in checks(findings)


async def test_verify__other_salt__is_named(subject: Subject) -> None:
    findings = await subject.verify_as(subject.plan_of(salt="another"), "output_settler")
    assert set(checks(findings)) == {"address", "salt"}


async def slot_holding(read: Callable[[str], Awaitable[object]], account: Address) -> str:
    """The storage slot of an array's second element, for the first arrays a contract may have."""
    for base in range(8):
        key = hex(int.from_bytes(keccak(base.to_bytes(32, "big")), "big") + 1)
        if str(await read(key)).endswith(account.hex()):
            return key
    raise AssertionError("no array holds the account")


async def code_at(chains: LocalChains, address: Address) -> bytearray:
    return bytearray(
        wire.read_data(await json_rpc(chains.alpha.port, "eth_getCode", format_address(address), "latest"))
    )


async def put_code(chains: LocalChains, address: Address, code: bytes) -> None:
    await json_rpc(chains.alpha.port, "anvil_setCode", format_address(address), wire.data(code))


@pytest.mark.parametrize(
    ("address", "what"), [(PERMIT2, "Permit2"), (CREATE2_DEPLOYER, "the CREATE2 deployer")], ids=["permit2", "create2"]
)
async def test_verify__other_code_where_everything_relies_on_it__is_named(
    subject: Subject, chains: LocalChains, address: Address, what: str
) -> None:
    code = await code_at(chains, address)
    code[40] ^= 0x01
    await put_code(chains, address, code)
    (finding,) = await subject.verify()
    assert (finding.check, finding.where) == ("surroundings", "chain alpha")
    assert f"{format_address(address)} is not {what}" in finding.what


@pytest.mark.parametrize("address", [PERMIT2, CREATE2_DEPLOYER], ids=["permit2", "create2"])
async def test_deploy__other_code_where_everything_relies_on_it__is_refused(
    subject: Subject, chains: LocalChains, address: Address
) -> None:
    await put_code(chains, address, b"\x00")
    with pytest.raises(DeploymentError, match=format_address(address)):
        await subject.deploy()


async def test_verify__permit2_as_its_constructor_left_it__is_permit2(
    subject: Subject, chains: LocalChains, artifacts: Artifacts
) -> None:
    places = [place for offsets in artifacts.runtime_template("Permit2").immutables.values() for place in offsets]
    assert len(places) == 2
    code = await code_at(chains, PERMIT2)
    for place in places:
        code[place : place + 32] = b"\x77" * 32
    await put_code(chains, PERMIT2, code)
    assert await subject.verify() == []
