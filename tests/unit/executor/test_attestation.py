from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from intentmesh.domain.digests import fill_attestation_digest
from intentmesh.domain.order import fill_data_hash, output_hash
from intentmesh.domain.signatures import address_of, sign
from intentmesh.domain.types import Address, ChainId, IntentId, format_address
from intentmesh.executor.attestation import (
    AttestationCollector,
    agreeing,
    checked,
    enough,
    needs_attestation,
    of_present,
)
from intentmesh.v1.attester_service_pb2 import FillAttestation

from tests.unit.executor.orders import fill, order, same_chain_order

KEYS = [bytes([n]) * 32 for n in (1, 2, 3)]
INTENT = IntentId(b"\x11" * 32)


def attestation(key: bytes = KEYS[0], time: int | None = None) -> FillAttestation:
    made, output = fill(), order().outputs[0]
    data_hash = fill_data_hash(INTENT, output, made.solver, made.time if time is None else time)
    digest = fill_attestation_digest(
        order().origin_chain_id, order().input_oracle, output.chain_id, output.oracle, output.settler, data_hash
    )
    return FillAttestation(
        output_hash="0x" + output_hash(output).hex(),
        data_hash="0x" + data_hash.hex(),
        attester=format_address(address_of(key)),
        signature=sign(digest, key),
    )


def test_needs_attestation__same_chain_with_its_own_oracle__needs_none() -> None:
    assert not needs_attestation(same_chain_order())
    assert needs_attestation(order())


def test_needs_attestation__same_chain_by_the_attested_oracle__needs_it() -> None:
    assert needs_attestation(replace(same_chain_order(), input_oracle=order().input_oracle))


def test_checked__own_signature_of_this_fill__is_kept() -> None:
    kept = checked(attestation(), INTENT, order(), fill())
    assert kept is not None
    assert (kept.signature, kept.data_hash) == (attestation().signature, attestation().data_hash)
    assert kept.attester == format_address(address_of(KEYS[0]))


def test_checked__another_fill_or_attester_or_garbage__is_not() -> None:
    assert checked(attestation(time=1), INTENT, order(), fill()) is None
    claimed = attestation()
    claimed.attester = format_address(address_of(KEYS[1]))
    assert checked(claimed, INTENT, order(), fill()) is None
    broken = attestation()
    broken.signature = b"\x00" * 65
    assert checked(broken, INTENT, order(), fill()) is None


def test_checked__compact_signature__is_not_kept_since_the_oracle_takes_none() -> None:
    compact = attestation()
    r, s, v = compact.signature[:32], bytearray(compact.signature[32:64]), compact.signature[64]
    s[0] |= 0x80 * (v - 27)
    compact.signature = r + bytes(s)
    assert checked(compact, INTENT, order(), fill()) is None


def test_checked__whatever_else_stands_in_the_answer__is_in_our_words() -> None:
    odd = attestation()
    odd.intent_id, odd.data_hash, odd.output_hash = "x" * 5_000_000, odd.data_hash.upper(), "0x"
    odd.attester = odd.attester.lower()
    assert checked(odd, INTENT, order(), fill()) == checked(attestation(), INTENT, order(), fill())


def test_agreeing__different_statements__are_not_counted_together() -> None:
    mixed = [attestation(KEYS[0]), attestation(KEYS[1], time=1)]
    assert len(agreeing(mixed, 2)) == 1
    same = [attestation(KEYS[1]), attestation(KEYS[0]), attestation(KEYS[2])]
    chosen = agreeing(same, 2)
    assert len(chosen) == 2
    assert [one.attester for one in chosen] == sorted((one.attester for one in chosen), key=str.lower)


def test_enough__threshold_for_every_output__only_then() -> None:
    digest = output_hash(order().outputs[0])
    one = {digest: {a.attester: a for a in [attestation(KEYS[0])]}}
    two = {digest: {a.attester: a for a in [attestation(KEYS[0]), attestation(KEYS[1])]}}
    assert not enough(order(), one, 2)
    assert enough(order(), two, 2)
    assert not enough(order(2), two, 2)


def test_enough__signatures_of_a_fill_that_was_taken_back__do_not_count() -> None:
    digest = output_hash(order().outputs[0])
    mixed = {
        digest: {a.attester: a for a in [attestation(KEYS[0], time=1), attestation(KEYS[1]), attestation(KEYS[2])]}
    }
    assert len(of_present(INTENT, order(), [fill()], mixed)[digest]) == 2
    gone = {digest: {a.attester: a for a in [attestation(key, time=1) for key in KEYS]}}
    assert not enough(order(), of_present(INTENT, order(), [fill()], gone), 2)
    assert not enough(order(), of_present(INTENT, order(), [None], mixed), 2)


class Attesters:
    """Each signs the one fill with the key it has, whosever that is."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    async def attest(self, index: int, _request: object) -> FillAttestation:
        return attestation(self._keys[index])


class Members:
    """The oracle knows all but the first key."""

    async def knows(self, _chain_id: ChainId, _oracle: Address, attester: Address) -> bool:
        return attester != address_of(KEYS[0])


async def test_collect__attester_that_the_oracle_does_not_know__its_signature_is_not_kept() -> None:
    # With it the oracle would refuse the whole proof, again and again, until the order is refunded.
    asked: Any = Attesters(KEYS)
    network: Any = SimpleNamespace(chain=lambda _: SimpleNamespace(attestation_threshold=2))
    found = await AttestationCollector(asked, network, Members()).collect(INTENT, order(), [fill()], {})
    assert {one.attester for one in found} == {format_address(address_of(key)) for key in KEYS[1:]}


async def test_collect__what_an_attester_signed_of_another_fill__does_not_stand_in_the_way() -> None:
    asked: Any = Attesters(KEYS[1:])
    network: Any = SimpleNamespace(chain=lambda _: SimpleNamespace(attestation_threshold=2))
    digest = output_hash(order().outputs[0])
    stale = {digest: {a.attester: a for a in [attestation(KEYS[1], time=1), attestation(KEYS[2])]}}
    found = await AttestationCollector(asked, network, Members()).collect(INTENT, order(), [fill()], stale)
    assert [one.attester for one in found] == [format_address(address_of(KEYS[1]))]


async def test_collect__enough_signatures_of_a_fill_that_was_taken_back__asks_for_those_of_the_present_one() -> None:
    # Else the solver that paid after the reorganisation is never paid: what is stored proves the other's fill.
    asked: Any = Attesters(KEYS[1:])
    network: Any = SimpleNamespace(chain=lambda _: SimpleNamespace(attestation_threshold=2))
    digest = output_hash(order().outputs[0])
    stale = {digest: {a.attester: a for a in [attestation(key, time=1) for key in KEYS[1:]]}}
    found = await AttestationCollector(asked, network, Members()).collect(INTENT, order(), [fill()], stale)
    assert {one.attester for one in found} == {format_address(address_of(key)) for key in KEYS[1:]}
