"""Inputs follow from their seed and number alone, survive a file, and reach every RPC in every manner."""

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from google.protobuf.message import DecodeError
from intentmesh.chain.config import ChainConfig, NetworkConfig, TokenConfig
from intentmesh.domain.types import Address, ChainId
from intentmesh.rpc.validation import RequestValidator

from tests.fuzz import crossing
from tests.fuzz.corpus import Corpus
from tests.fuzz.inputs import FuzzInput, Manner, read_inputs
from tests.fuzz.making import InputMaker
from tests.fuzz.surface import SERVICES, Door, all_rpcs, rpc_of

NOW = 1_790_000_000
USER, SOLVER = "0x" + "ab" * 20, "0x" + "cd" * 20


def _address(number: int) -> Address:
    return Address(number.to_bytes(20, "big"))


def _network() -> NetworkConfig:
    return NetworkConfig(
        chains=tuple(
            ChainConfig(
                chain_id=ChainId(chain_id),
                name=name,
                rpc_urls=("http://127.0.0.1:1",),
                confirmations=1,
                max_reorg_depth=2,
                block_time_seconds=1,
                input_settler=_address(chain_id + 1),
                output_settler=_address(chain_id + 2),
                oracle=_address(chain_id + 3),
                permit2=_address(chain_id + 4),
                output_settler_accepts_surplus=True,
                attestation_threshold=1,
                tokens={
                    symbol: TokenConfig(address=_address(chain_id + 5 + index), decimals=6)
                    for index, symbol in enumerate(("USDC", "WETH"))
                },
            )
            for chain_id, name in ((31_337, "alpha"), (31_437, "beta"))
        )
    )


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(_network(), SOLVER, seed=1, now=NOW)


def _maker(corpus: Corpus, seed: int) -> InputMaker:
    return InputMaker(corpus, seed, USER, SOLVER)


def test_make__same_seed_and_number__is_the_same_input(corpus: Corpus) -> None:
    again = Corpus(_network(), SOLVER, seed=1, now=NOW)
    one, other = _maker(corpus, 5), _maker(again, 5)
    # In any sequence: the number decides, not what was made before.
    assert [one.make(number) for number in range(200)] == [other.make(n) for n in reversed(range(200))][::-1]
    assert one.make(1) != _maker(corpus, 6).make(1)


def test_make__some_thousands__reach_every_rpc_at_every_door_in_every_manner(corpus: Corpus) -> None:
    maker = _maker(corpus, 7)
    made = [maker.make(number) for number in range(4_000)]
    assert {rpc.path for rpc in all_rpcs()} <= {one.path for one in made}
    assert {one.door for one in made} == set(Door)
    assert {one.manner for one in made} == set(Manner)
    assert not any(one.principal for one in made if one.door is Door.GATEWAY)
    valid = {corpus_order.SerializeToString() for corpus_order in corpus.orders}
    assert any(message in valid for one in made for message in one.messages), "valid orders are among them"


def test_input__through_a_file__is_the_same(corpus: Corpus, tmp_path: Path) -> None:
    maker = _maker(corpus, 8)
    made = [maker.make(number) for number in range(300)]
    file = tmp_path / "finding.json"
    file.write_text(json.dumps({"inputs": [one.to_json() for one in made]}))
    assert read_inputs(file) == made
    assert all(isinstance(one, FuzzInput) for one in made)


def test_make__some_thousands__give_every_server_its_share(corpus: Corpus) -> None:
    maker = _maker(corpus, 9)
    received = Counter(
        rpc.server_behind(one.door) for one in map(maker.make, range(4_000)) if (rpc := rpc_of(one.path))
    )
    # Or a leak of the one that is called least would be lost in the noise.
    assert all(received[server] > 0.05 * 4_000 for server in SERVICES)


@pytest.mark.parametrize("path", [rpc.path for rpc in all_rpcs()])
def test_make__for_every_rpc__more_than_half_passes_the_structure_check(corpus: Corpus, path: str) -> None:
    maker, random, validator = _maker(corpus, 10), Random(10), RequestValidator()
    rpc = rpc_of(path)
    assert rpc is not None
    sound = 0
    for _ in range(200):
        data, _notes = maker._message(random, rpc)
        try:
            sound += not validator.violations(rpc.request.FromString(data))
        except DecodeError:
            continue
    assert sound > 100


def test_cross__an_order__is_changed_in_one_value_and_still_well_formed(corpus: Corpus) -> None:
    random, validator = Random(11), RequestValidator()
    changed = sound = 0
    for turn in range(300):
        request = corpus.signer.order(turn % 30)
        before = request.SerializeToString()
        crossing.cross(random, request, corpus.signer.order(random.randrange(30)))
        changed += request.SerializeToString() != before
        sound += not validator.violations(request)
    assert changed > 200
    assert sound > 270
