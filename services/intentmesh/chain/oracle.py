"""The oracle on the origin chain that is convinced by signatures of m of n attesters."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from intentmesh.chain.client import ChainClient
from intentmesh.chain.codec import load_abi
from intentmesh.chain.contract import Contract, evidence_of
from intentmesh.chain.records import Evidence, Log
from intentmesh.domain.types import Address, Bytes32


class Statement(NamedTuple):
    """What is proven of a fill: that it happened there, as `data_hash` describes it."""

    remote_chain_id: int
    remote_oracle: Bytes32
    application: Bytes32
    data_hash: Bytes32


class AttestedOracle(Contract):
    """The oracle of a chain. Reads raise ChainUnavailable."""

    def __init__(self, client: ChainClient, address: Address | None = None) -> None:
        super().__init__(client, address or client.config.oracle, load_abi("oracle"))

    async def is_proven(
        self, remote_chain_id: int, remote_oracle: Bytes32, application: Bytes32, data_hash: Bytes32
    ) -> bool:
        (proven,) = await self._call("isProven", remote_chain_id, remote_oracle, application, data_hash)
        return bool(proven)

    async def threshold(self) -> int:
        """Number of distinct attesters whose signatures make a proof."""
        (threshold,) = await self._call("threshold")
        return int(threshold)

    async def is_attester(self, account: Address) -> bool:
        (known,) = await self._call("isAttester", account)
        return bool(known)

    async def attestation_digest(
        self, remote_chain_id: int, remote_oracle: Bytes32, application: Bytes32, data_hash: Bytes32
    ) -> bytes:
        """What attesters sign, as the contract itself computes it."""
        (digest,) = await self._call("attestationDigest", remote_chain_id, remote_oracle, application, data_hash)
        return bytes(digest)

    async def find_proven(
        self, statements: Collection[Statement], from_block: int, to_block: int
    ) -> dict[Statement, Evidence]:
        """The events that made statements proven, from the newest block back, as far as they are there.

        Their arguments are not indexed, so all of the oracle's are read. An output settler that is its own oracle tells
        of proofs in the same way.
        """
        event = self._abi.event("OutputProven")
        found: dict[Statement, Evidence] = {}

        def suffice(logs: Sequence[Log]) -> bool:
            for log in logs:
                statement = Statement(*self._decode("OutputProven", log))
                if statement in statements:
                    found[statement] = evidence_of(log)
            return len(found) == len(statements)

        await self.client.logs(self.address, (event.topic,), from_block, to_block, suffice=suffice)
        return found

    def encode_submit(
        self,
        remote_chain_id: int,
        remote_oracle: Bytes32,
        application: Bytes32,
        data_hash: Bytes32,
        signatures: Sequence[bytes],
    ) -> bytes:
        """Brings a proof, by anyone. Signatures of 65 bytes, of distinct attesters, at least `threshold` of them."""
        return self._encode("submit", remote_chain_id, remote_oracle, application, data_hash, list(signatures))
