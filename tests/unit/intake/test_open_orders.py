"""What a user's open orders take, while some of them are on their way into the store."""

from intentmesh.domain.types import IntentId
from intentmesh.intake.open_orders import UserOrders
from intentmesh.store.admission import OpenOfUser

from tests.fixtures.orders import erc3009_request, make_order, permit2_request
from tests.unit.intake.networks import ALPHA, NETWORK
from tests.unit.intake.test_checks import _admissible

USDC = (ALPHA.chain_id, ALPHA.tokens["USDC"].address)
PERMITTED = (*USDC, True)
AUTHORISED = (*USDC, False)
NOBODY = IntentId(bytes(32))


def _orders() -> UserOrders:
    return UserOrders(read_at=0.0, stored=2, taken={PERMITTED: 70, AUTHORISED: 30})


def _entering():
    return _admissible(permit2_request(NETWORK, make_order(ALPHA)))


def test_open_orders__entering__counts_for_others_and_not_for_itself():
    orders, first = _orders(), _entering()
    orders.enter(first)
    amount = first.order.inputs[0].amount
    assert orders.reserves_without(NOBODY, USDC)[0] == 100 + amount
    assert orders.reserves_without(first.intent_id, USDC)[0] == 100
    assert (orders.count_without(NOBODY), orders.count_without(first.intent_id)) == (3, 2)


def test_open_orders__same_order_twice__is_reserved_once():
    orders, first = _orders(), _entering()
    orders.enter(first)
    orders.enter(first)
    orders.leave(first.intent_id, created=False)
    assert orders.count_without(NOBODY) == 3
    orders.leave(first.intent_id, created=True)
    amount = first.order.inputs[0].amount
    assert orders.reserves_without(NOBODY, USDC)[0] == 100 + amount
    assert orders.count_without(NOBODY) == 3


def test_open_orders__refused__takes_nothing():
    orders, first = _orders(), _entering()
    orders.enter(first)
    orders.leave(first.intent_id, created=False)
    assert orders.reserves_without(NOBODY, USDC)[0] == 100
    assert orders.count_without(NOBODY) == 2


def test_open_orders__stored_while_the_store_is_read__is_not_forgotten():
    orders, first = _orders(), _entering()
    orders.enter(first)
    orders.begin_reading()
    orders.leave(first.intent_id, created=True)
    orders.replace(1.0, OpenOfUser(2, {PERMITTED: 100}), {})
    amount = first.order.inputs[0].amount
    assert orders.count_without(NOBODY) == 3
    assert orders.reserves_without(NOBODY, USDC)[0] == 100 + amount


def test_open_orders__what_permit2_takes__is_known_apart_from_the_rest():
    orders, first = _orders(), _entering()
    amount = first.order.inputs[0].amount
    orders.enter(first)
    assert orders.reserves_without(NOBODY, USDC)[1] == 70 + amount
    assert orders.reserves_without(first.intent_id, USDC)[1] == 70
    by_authorisation = _admissible(erc3009_request(NETWORK, make_order(ALPHA)))
    orders.enter(by_authorisation)
    assert orders.reserves_without(NOBODY, USDC)[1] == 70 + amount
    assert orders.reserves_without(NOBODY, USDC)[0] == 100 + 2 * amount


def test_open_orders__committed_and_read_before_it_has_left__is_counted_once():
    orders, first = _orders(), _entering()
    orders.enter(first)
    amount = first.order.inputs[0].amount
    orders.replace(1.0, OpenOfUser(3, {PERMITTED: 70 + amount, AUTHORISED: 30}), {first.intent_id: True})
    assert orders.count_without(NOBODY) == 3
    assert orders.reserves_without(NOBODY, USDC)[0] == 100 + amount
    orders.leave(first.intent_id, created=True)
    assert orders.count_without(NOBODY) == 3
    assert orders.reserves_without(NOBODY, USDC)[0] == 100 + amount


def test_open_orders__left_while_the_store_is_read_that_has_seen_it__is_counted_once():
    orders, first = _orders(), _entering()
    orders.enter(first)
    orders.begin_reading()
    orders.leave(first.intent_id, created=True)
    amount = first.order.inputs[0].amount
    orders.replace(1.0, OpenOfUser(3, {PERMITTED: 70 + amount, AUTHORISED: 30}), {first.intent_id: True})
    assert orders.count_without(NOBODY) == 3
    assert orders.reserves_without(NOBODY, USDC)[0] == 100 + amount


def test_open_orders__stored_by_another_replica_while_it_enters__still_counts_when_it_leaves():
    orders, first = _orders(), _entering()
    orders.enter(first)
    amount = first.order.inputs[0].amount
    orders.replace(1.0, OpenOfUser(3, {PERMITTED: 70 + amount, AUTHORISED: 30}), {first.intent_id: True})
    orders.leave(first.intent_id, created=False)
    assert orders.count_without(NOBODY) == 3
    assert orders.reserves_without(NOBODY, USDC)[0] == 100 + amount


def test_open_orders__entering_intent_seen_without_its_funds__takes_them_until_it_is_read_again():
    orders, first = _orders(), _entering()
    orders.enter(first)
    orders.replace(1.0, OpenOfUser(3, {PERMITTED: 70, AUTHORISED: 30}), {first.intent_id: False})
    amount = first.order.inputs[0].amount
    assert (orders.count_without(NOBODY), orders.reserves_without(NOBODY, USDC)[0]) == (3, 100 + amount)


def test_open_orders__while_nobody_reads__nothing_is_held_of_what_is_stored():
    orders, first = _orders(), _entering()
    for created in (True, False):
        orders.begin_reading()
        orders.replace(1.0, OpenOfUser(2, {}), {}) if created else orders.end_reading()
        orders.enter(first)
        orders.leave(first.intent_id, created=True)
        assert not orders.stored_meanwhile
        assert not list(orders.in_doubt())
