"""Print `buf/validate/validate.proto` from the descriptor that the protovalidate package embeds.

No package ships the file itself, yet protoc, buf and every client that compiles our protos need it. Custom options of
the file (the CEL text of the standard rules) are left out: the validator carries its own full copy of them.
"""

import sys
from pathlib import Path

from google.protobuf import descriptor_pb2 as d
from protovalidate._gen.buf.validate import validate_pb

FIELD = d.FieldDescriptorProto
SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in FIELD.Type.items()}
LABELS = {FIELD.LABEL_OPTIONAL: "optional", FIELD.LABEL_REPEATED: "repeated", FIELD.LABEL_REQUIRED: "required"}


def main() -> None:
    """Write the file below the folder given as the only argument."""
    target = Path(sys.argv[1]) / "buf" / "validate" / "validate.proto"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(_file(_descriptor())) + "\n")


def _descriptor() -> d.FileDescriptorProto:
    return d.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())


def _file(file: d.FileDescriptorProto) -> list[str]:
    lines = [f'syntax = "{file.syntax or "proto2"}";', f"package {file.package};"]
    lines += [f'import "{name}";' for name in file.dependency]
    for enum in file.enum_type:
        lines += _enum(enum)
    for message in file.message_type:
        lines += _message(message)
    for extension in file.extension:
        lines += [f"extend {extension.extendee} {{", *_indent(_field(extension, in_oneof=False)), "}"]
    return lines


def _message(message: d.DescriptorProto) -> list[str]:
    body: list[str] = []
    for enum in message.enum_type:
        body += _enum(enum)
    for nested in message.nested_type:
        body += _message(nested)
    for index, oneof in enumerate(message.oneof_decl):
        members = [f for f in message.field if f.HasField("oneof_index") and f.oneof_index == index]
        body += [f"oneof {oneof.name} {{"]
        for field in members:
            body += _indent(_field(field, in_oneof=True))
        body += ["}"]
    for field in message.field:
        if not field.HasField("oneof_index"):
            body += _field(field, in_oneof=False)
    for span in message.extension_range:
        last = "max" if span.end > 536_870_911 else str(span.end - 1)
        body += [f"extensions {span.start} to {last};"]
    for reserved in message.reserved_range:
        body += [f"reserved {reserved.start} to {reserved.end - 1};"]
    body += [f'reserved "{name}";' for name in message.reserved_name]
    return [f"message {message.name} {{", *_indent(body), "}"]


def _field(field: FIELD, *, in_oneof: bool) -> list[str]:
    label = "" if in_oneof else LABELS[field.label] + " "
    kind = field.type_name or SCALARS[field.type]
    return [f"{label}{kind} {field.name} = {field.number};"]


def _enum(enum: d.EnumDescriptorProto) -> list[str]:
    return [f"enum {enum.name} {{", *_indent([f"{v.name} = {v.number};" for v in enum.value]), "}"]


def _indent(lines: list[str]) -> list[str]:
    return ["  " + line for line in lines]


if __name__ == "__main__":
    main()
