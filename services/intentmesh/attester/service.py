"""AttesterService: messages in, messages out."""

from collections.abc import Collection

import grpc

from intentmesh.attester.attestation import Attestor, FillClaim
from intentmesh.attester.journal import Entry, Journal
from intentmesh.domain.convert import output_from_proto
from intentmesh.domain.errors import PermissionDenied, Unauthenticated
from intentmesh.domain.types import (
    Address,
    ChainId,
    format_address,
    format_intent_id,
    parse_address,
    parse_bytes32,
    parse_intent_id,
)
from intentmesh.rpc.pages import decode_page_token, encode_page_token, page_size
from intentmesh.rpc.principals import PrincipalKind, current_principal
from intentmesh.v1 import attester_service_pb2 as pb
from intentmesh.v1.attester_service_pb2_grpc import AttesterServiceServicer


class AttesterHandler(AttesterServiceServicer):
    """Serves the principals of `allowed_callers` only."""

    def __init__(self, attestor: Attestor, journal: Journal, allowed_callers: Collection[str]) -> None:
        self._attestor = attestor
        self._journal = journal
        self._allowed = frozenset(PrincipalKind(kind) for kind in allowed_callers)

    async def AttestFill(  # noqa: N802 (the protocol's name)
        self, request: pb.AttestFillRequest, _context: "grpc.aio.ServicerContext[object, object]"
    ) -> pb.AttestFillResponse:
        self._check_caller()
        entry = await self._attestor.attest(
            FillClaim(
                intent_id=parse_intent_id(request.intent_id),
                origin_chain_id=ChainId(request.origin_chain_id),
                input_oracle=parse_address(request.input_oracle),
                output=output_from_proto(request.output),
                solver=parse_bytes32(request.solver),
                timestamp=request.timestamp,
            )
        )
        return pb.AttestFillResponse(attestation=_to_proto(entry, self._attestor.address))

    async def ListAttestations(  # noqa: N802 (the protocol's name)
        self, request: pb.ListAttestationsRequest, _context: "grpc.aio.ServicerContext[object, object]"
    ) -> pb.ListAttestationsResponse:
        self._check_caller()
        size = page_size(request.page_size)
        query = f"ListAttestations {request.intent_id.lower()}"
        before = decode_page_token(query, request.page_token, int) if request.page_token else None
        intent_id = parse_intent_id(request.intent_id) if request.intent_id else None
        # One more than asked for tells whether there is another page.
        found = await self._journal.newest(intent_id, before, size + 1)
        page = found[:size]
        more = len(found) > size
        return pb.ListAttestationsResponse(
            attestations=[_to_proto(entry, self._attestor.address) for entry in page],
            next_page_token=encode_page_token(query, page[-1].position) if more else "",
        )

    def _check_caller(self) -> None:
        caller = current_principal()
        if caller.kind in self._allowed or PrincipalKind.ANONYMOUS in self._allowed:
            return
        if caller.kind is PrincipalKind.ANONYMOUS:
            raise Unauthenticated("this attester serves known callers only")
        raise PermissionDenied(f"this attester does not serve {caller.kind} callers")


def _to_proto(entry: Entry, attester: Address) -> pb.FillAttestation:
    statement = entry.statement
    message = pb.FillAttestation(
        intent_id=format_intent_id(statement.intent_id),
        output_hash="0x" + statement.output_hash.hex(),
        remote_chain_id=statement.remote_chain_id,
        remote_oracle=format_address(statement.remote_oracle),
        application=format_address(statement.application),
        data_hash="0x" + statement.data_hash.hex(),
        attester=format_address(attester),
        signature=entry.signature,
        solver="0x" + statement.solver.hex(),
        timestamp=statement.timestamp,
    )
    message.create_time.FromDatetime(entry.created_at)
    return message
