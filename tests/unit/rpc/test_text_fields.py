"""PostgreSQL stores no NUL: a text that may reach it is refused at the door, with the field's name."""

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from intentmesh.rpc.reflection import SERVICE_MODULES
from intentmesh.rpc.validation import RequestValidator

# Texts that are decoded or compared, and never handed to a store as they are.
NEVER_STORED = {
    "page_token",
    "resume_token",
    "excluded_solver_ids",
    "QuoteRequest.auction_id",
    "QuoteRequest.intent_id",
    # The solver keeps the whole message as bytes.
    "Quote.quote_id",
    "Quote.solver_id",
    "Quote.solver",
    "Quote.output_amounts",
}


def _text_fields() -> list[tuple[Descriptor, FieldDescriptor]]:
    found: dict[str, tuple[Descriptor, FieldDescriptor]] = {}

    def walk(message: Descriptor) -> None:
        for field in message.fields:
            if field.full_name in found:
                continue
            if field.message_type is not None and field.message_type.full_name.startswith("intentmesh."):
                walk(field.message_type)
            elif field.type == FieldDescriptor.TYPE_STRING:
                found[field.full_name] = (message, field)

    for name in SERVICE_MODULES:
        module = __import__(f"intentmesh.v1.{name}_pb2", fromlist=["DESCRIPTOR"])
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                walk(method.input_type)
    return [pair for _, pair in sorted(found.items()) if not {pair[1].name, _short(pair[1])} & NEVER_STORED]


def _short(field: FieldDescriptor) -> str:
    return ".".join(field.full_name.split(".")[-2:])


@pytest.mark.parametrize(("message", "field"), [pytest.param(m, f, id=_short(f)) for m, f in _text_fields()])
@pytest.mark.parametrize("text", ["\x00", "a\x00", "0x" + "0" * 40 + "\x00", "0x" + "0" * 64 + "\x00"], ids=ascii)
def test_text_field__with_nul__is_refused(message: Descriptor, field: FieldDescriptor, text: str) -> None:
    request: Message = message_factory.GetMessageClass(message)()
    if field.is_repeated:
        getattr(request, field.name).append(text)
    else:
        setattr(request, field.name, text)
    refused = {violation.field.partition("[")[0] for violation in RequestValidator().violations(request)}
    assert field.name in refused
