"""The workload: users with funds, and orders that they have signed for Permit2."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from intentmesh.chain.config import ChainConfig, NetworkConfig
from intentmesh.domain.keccak import keccak
from intentmesh.domain.signatures import address_of
from intentmesh.domain.types import Address
from intentmesh.v1.intake_service_pb2 import SubmitIntentsRequest

from tests.fixtures.orders import make_order, permit2_request

# Nonces of one word share an entry of the intake's cache, as those of wallets that count do.
NONCES_PER_WORD = 256
LIFE_SECONDS = 6 * 3600


@dataclass(slots=True)
class User:
    """Signs orders with ever new nonces."""

    key: bytes
    address: Address
    nonces: Iterator[int] = field(default_factory=lambda: itertools.count(0))


def make_users(count: int) -> list[User]:
    """The same in every run."""
    keys = [keccak(b"intake benchmark user %d" % number) for number in range(count)]
    return [User(key, address_of(key)) for key in keys]


class Orders:
    """Requests as the bytes that go over the wire, made and signed before the clock starts."""

    def __init__(self, network: NetworkConfig, users: list[User]) -> None:
        self._network = network
        self._users = users
        self._turns = itertools.cycle(users)
        chain: ChainConfig = network.chains[0]
        now = int(time.time())
        self._template = make_order(chain, fill_deadline=now + LIFE_SECONDS, expires=now + 2 * LIFE_SECONDS)

    def unary(self, count: int) -> list[bytes]:
        """One order each."""
        return [self._next().SerializeToString() for _ in range(count)]

    def messages(self, count: int, items: int) -> list[bytes]:
        """Messages of SubmitIntents with so many items each."""
        made = []
        for _ in range(count // items):
            message = SubmitIntentsRequest()
            for item_id in range(items):
                message.items.add(item_id=item_id, intent=self._next())
            made.append(message.SerializeToString())
        return made

    def next_word(self) -> None:
        """Every user goes on with the first nonce of a fresh word."""
        for user in self._users:
            user.nonces = itertools.count((next(user.nonces) // NONCES_PER_WORD + 1) * NONCES_PER_WORD)

    def _next(self):
        user = next(self._turns)
        order = replace(self._template, user=user.address, nonce=next(user.nonces))
        return permit2_request(self._network, order, key=user.key)
