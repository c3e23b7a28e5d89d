from pathlib import Path

import pytest
from intentmesh.executor.bootstrap import _network
from intentmesh.executor.settings import ExecutorSettings
from intentmesh.rpc.settings import SettingsError

ONE_CHAIN = """
[[chains]]
chain_id = 31337
name = "alpha"
rpc_urls = ["http://127.0.0.1:1"]
input_settler = "0x0101010101010101010101010101010101010101"
output_settler = "0x0202020202020202020202020202020202020202"
oracle = "0x0303030303030303030303030303030303030303"
"""


def test_network__one_chain_and_no_attesters__is_refused(tmp_path: Path) -> None:
    # An order on one chain may name the attested oracle: without attesters its solver would pay and never be paid.
    file = tmp_path / "network.toml"
    file.write_text(ONE_CHAIN)
    settings = ExecutorSettings(network_file=file, registry_target="127.0.0.1:1", attester_targets=())
    with pytest.raises(SettingsError, match="attester_targets"):
        _network(settings)
