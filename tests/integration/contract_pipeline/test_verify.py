"""`contracts verify` looks at all that a record tells of, and holds no key."""

from pathlib import Path

import pytest
from intentmesh.cli.contracts_deploy import verify_recorded
from intentmesh.contract_pipeline.networks import NetworkTarget
from intentmesh.embedded.programs import REPOSITORY

from tests.fixtures.servers import LocalChains
from tests.integration.contract_pipeline.conftest import TOKENS, Site, make_site, make_target

ATTESTERS = {"attesters": ["0x" + "ab" * 20], "threshold": 1}


def public_target(chains: LocalChains, *, both: bool = True, tokens: bool = True) -> NetworkTarget:
    """The session's chains as if they were somebody else's; nobody here has the deployer's key."""
    running = chains.both if both else chains.both[:1]
    return make_target(
        chains,
        deployer_key="env:VERIFY_TEST_MISSING_KEY",
        chains=[
            {
                "chain_id": chain.chain_id,
                "name": chain.name,
                "rpc_urls": [chain.rpc_url],
                "test_tokens": TOKENS if tokens else [],
            }
            for chain in running
        ],
        **ATTESTERS,
    )


@pytest.fixture
async def recorded(chains: LocalChains, tmp_path: Path) -> Site:
    """Both chains with a recorded deployment."""
    site = make_site(chains, tmp_path, **ATTESTERS)
    await site.pipeline().run(site.deployment, resume=False, dry_run=False)
    return site


async def test_verify__without_the_deployers_key__compares_everything(recorded: Site, chains: LocalChains) -> None:
    findings, deployed = await verify_recorded(REPOSITORY, recorded.data_dir, "testnet", public_target(chains))
    assert findings == []
    assert len(deployed) == 10


async def test_verify__recorded_contracts_are_no_longer_configured__names_them(
    recorded: Site, chains: LocalChains
) -> None:
    target = public_target(chains, tokens=False)
    findings, _ = await verify_recorded(REPOSITORY, recorded.data_dir, "testnet", target)
    assert {finding.check for finding in findings} == {"recorded only"}
    assert {finding.where for finding in findings} == {
        f"{symbol} (LocalToken) on chain {chain.chain_id}" for symbol in ("USDC", "WETH") for chain in chains.both
    }


async def test_verify__recorded_chain_is_no_longer_configured__names_all_on_it(
    recorded: Site, chains: LocalChains
) -> None:
    target = public_target(chains, both=False)
    findings, _ = await verify_recorded(REPOSITORY, recorded.data_dir, "testnet", target)
    assert len(findings) == 5
    assert all(finding.where.endswith(f"on chain {chains.beta.chain_id}") for finding in findings)
