from intentmesh.executor.discoveries import Known, discover, gas_by_chain, key_of, totals
from intentmesh.executor.evidence import Depth
from intentmesh.v1.intent_pb2 import ChainTransaction, TransactionKind, TransactionStatus

from tests.unit.executor.orders import evidence, fill, sighting

INCLUDED = TransactionStatus.TRANSACTION_STATUS_INCLUDED
CONFIRMED = TransactionStatus.TRANSACTION_STATUS_CONFIRMED
PENDING = TransactionStatus.TRANSACTION_STATUS_PENDING


def known_open(status: TransactionStatus.ValueType = INCLUDED, block: int = 10) -> Known:
    seen = sighting(Depth.SEEN)
    chain, text = key_of(seen)
    transaction = ChainTransaction(
        hash=text,
        chain_id=chain,
        kind=TransactionKind.TRANSACTION_KIND_OPEN,
        status=status,
        block_number=block,
        gas_used=100,
        effective_gas_price="7",
    )
    return {(chain, text): transaction}


def test_discover__new_transactions__are_to_be_looked_up() -> None:
    fresh, changed = discover(evidence(opened=Depth.SEEN, fills=(fill(),)), {})
    assert {item.kind for item in fresh} == {
        TransactionKind.TRANSACTION_KIND_OPEN,
        TransactionKind.TRANSACTION_KIND_FILL,
    }
    assert changed == []


def test_discover__known_one_got_deep__is_confirmed() -> None:
    fresh, changed = discover(evidence(opened=Depth.FINAL), known_open())
    assert (fresh, [transaction.status for transaction in changed]) == ([], [CONFIRMED])


def test_discover__nothing_new__changes_nothing() -> None:
    assert discover(evidence(opened=Depth.SEEN), known_open()) == ([], [])


def test_discover__known_one_in_another_block__is_looked_up_again() -> None:
    fresh, _ = discover(evidence(opened=Depth.SEEN), known_open(block=9))
    assert len(fresh) == 1


def test_discover__taken_back_by_a_reorganisation__is_pending_and_no_longer_counts() -> None:
    known = known_open(CONFIRMED)
    _, (changed,) = discover(evidence(), known)
    assert changed.status == PENDING
    assert totals(known.values()) == (100, 700)
    assert totals([changed]) == (0, 0)
    assert gas_by_chain(known.values()) == {31_337: 100}
