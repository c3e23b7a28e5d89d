"""What a user's open orders take, while some of them are on their way into the store."""

from intentmesh.domain.types import IntentId
from intentmesh.intake.open_orders import UserOrders
from intentmesh.store.admission import OpenOfUser

from tests.fixtures.orders import make_order, permit2_request
from tests.unit.intake.networks import ALPHA, NETWORK
from tests.unit.intake.test_checks import _admissible

USDC = (ALPHA.chain_id, ALPHA.tokens["USDC"].address)
NOBODY = IntentId(bytes(32))


def _orders() -> UserOrders:
    return UserOrders(read_at=0.0, stored=2, reserved={USDC: 100})


def _entering():
    return _admissible(permit2_request(NETWORK, make_order(ALPHA)))


def test_open_orders__entering__counts_for_others_and_not_for_itself():
    orders, first = _orders(), _entering()
    orders.enter(first)
    amount = first.order.inputs[0].amount
    assert orders.reserved_without(NOBODY, USDC) == 100 + amount
    assert orders.reserved_without(first.intent_id, USDC) == 100
    assert (orders.count_without(NOBODY), orders.count_without(first.intent_id)) == (3, 2)


def test_open_orders__same_order_twice__is_reserved_once():
    orders, first = _orders(), _entering()
    orders.enter(first)
    orders.enter(first)
    orders.leave(first.intent_id, created=False)
    assert orders.count_without(NOBODY) == 3
    orders.leave(first.intent_id, created=True)
    amount = first.order.inputs[0].amount
    assert orders.reserved_without(NOBODY, USDC) == 100 + amount
    assert orders.count_without(NOBODY) == 3


def test_open_orders__refused__takes_nothing():
    orders, first = _orders(), _entering()
    orders.enter(first)
    orders.leave(first.intent_id, created=False)
    assert orders.reserved_without(NOBODY, USDC) == 100
    assert orders.count_without(NOBODY) == 2


def test_open_orders__stored_while_the_store_is_read__is_not_forgotten():
    orders, first = _orders(), _entering()
    orders.enter(first)
    orders.stored_meanwhile.clear()
    orders.leave(first.intent_id, created=True)
    orders.replace(1.0, OpenOfUser(2, {USDC: 100}))
    amount = first.order.inputs[0].amount
    assert orders.count_without(NOBODY) == 3
    assert orders.reserved_without(NOBODY, USDC) == 100 + amount
