"""Protocol buffers for tests, in Python's standard library: descriptor sets, and messages read and written by them.

`load` reads what protoc's --descriptor_set_out wrote, `compile_schema` lets protoc write it. Messages are dictionaries: a field that is
absent is absent, repeated fields and maps are always there, enum values are their names, bytes stay bytes.
"""

import dataclasses
import pathlib
import shutil
import struct
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# FieldDescriptorProto.Type, by number.
TYPES = ("", "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "group", "message", "bytes", "uint32",
         "enum", "sfixed32", "sfixed64", "sint32", "sint64")  # fmt: skip
FIXED = {"double": "<d", "float": "<f", "fixed64": "<Q", "fixed32": "<I", "sfixed32": "<i", "sfixed64": "<q"}


@dataclasses.dataclass
class Field:
    name: str
    number: int
    label: str  # optional (explicit presence), singular, repeated, map
    type: str  # of TYPES; for messages and enums the full name
    kind: str  # of TYPES
    oneof: str = ""


@dataclasses.dataclass
class Message:
    name: str
    fields: dict = dataclasses.field(default_factory=dict)  # by number
    reserved: list = dataclasses.field(default_factory=list)  # ranges of numbers
    is_map_entry: bool = False


@dataclasses.dataclass
class Method:
    name: str
    input: str
    output: str
    client_streams: bool
    server_streams: bool


@dataclasses.dataclass
class Schema:
    messages: dict = dataclasses.field(default_factory=dict)  # by full name
    enums: dict = dataclasses.field(default_factory=dict)  # full name -> {number: name}
    services: dict = dataclasses.field(default_factory=dict)  # full name -> {method name: Method}

    def decode(self, name, data):
        """The message of this full name (`ballast.v1.Run`)."""
        message = self.messages[name]
        result = {field.name: {} if field.label == "map" else [] for field in message.fields.values() if field.label in ("repeated", "map")}
        for number, wire_type, value in fields_of(data):
            field = message.fields.get(number)
            if field is None:
                continue
            if field.label == "map":
                entry = self.decode(field.type, value)
                result[field.name][entry.get("key", "")] = entry.get("value", "")
            elif field.label == "repeated":
                packed = wire_type == 2 and field.kind not in ("string", "bytes", "message")
                result[field.name] += self._packed(field, value) if packed else [self._value(field, value)]
            else:
                result[field.name] = self._value(field, value)
        return result

    def _value(self, field, value):
        if field.kind == "message":
            return self.decode(field.type, value)
        if field.kind == "enum":
            return self.enums[field.type].get(value, value)
        if field.kind == "string":
            return value.decode("utf-8")
        if field.kind == "bytes":
            return bytes(value)
        if field.kind in FIXED:
            return struct.unpack(FIXED[field.kind], value)[0]
        if field.kind in ("sint32", "sint64"):
            return (value >> 1) ^ -(value & 1)
        if field.kind in ("int32", "int64"):
            return value - (1 << 64) if value >> 63 else value
        return bool(value) if field.kind == "bool" else value

    def _packed(self, field, data):
        if field.kind in FIXED:
            size = struct.calcsize(FIXED[field.kind])
            return [self._value(field, data[at : at + size]) for at in range(0, len(data), size)]
        values, at = [], 0
        while at < len(data):
            value, at = _varint(data, at)
            values.append(self._value(field, value))
        return values

    def encode(self, name, values):
        """The bytes of a message; of fields that are neither maps nor zigzag numbers, which are not needed here."""
        fields = {field.name: field for field in self.messages[name].fields.values()}
        out = b""
        for key, value in values.items():
            field = fields[key]
            for item in value if field.label == "repeated" else [value]:
                if field.kind == "message":
                    item = self.encode(field.type, item)
                elif field.kind == "enum":
                    item = next(number for number, label in self.enums[field.type].items() if label == item)
                elif field.kind == "string":
                    item = item.encode("utf-8")
                elif field.label == "map" or field.kind in ("sint32", "sint64"):
                    raise ValueError(f"{name}.{key}: {field.kind} cannot be written here")
                if field.kind in FIXED:
                    fixed = struct.pack(FIXED[field.kind], item)
                    out += _to_varint(field.number << 3 | (1 if len(fixed) == 8 else 5)) + fixed
                elif isinstance(item, bytes):
                    out += _to_varint(field.number << 3 | 2) + _to_varint(len(item)) + item
                else:
                    out += _to_varint(field.number << 3) + _to_varint(int(item) & (1 << 64) - 1)
        return out


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _to_varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields_of(data):
    """(number, wire type, value) of each field, as they stand; ValueError where the bytes are no message."""
    at = 0
    try:
        while at < len(data):
            key, at = _varint(data, at)
            wire_type = key & 7
            if wire_type == 0:
                value, at = _varint(data, at)
            elif wire_type in (1, 2, 5):
                size = {1: 8, 5: 4}.get(wire_type)
                if size is None:
                    size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            else:
                raise ValueError(f"wire type {wire_type}")
            if at > len(data):
                raise IndexError
            yield key >> 3, wire_type, value
    except IndexError:
        raise ValueError("the message is cut off") from None


def _collect(data):
    """A descriptor's fields by number, each a list."""
    found = {}
    for number, _, value in fields_of(data):
        found.setdefault(number, []).append(value)
    return found


def _text(found, number):
    return found[number][0].decode() if number in found else ""


def _add_enum(schema, scope, data):
    found = _collect(data)
    values = {}
    for value in map(_collect, found.get(2, [])):
        values.setdefault(value.get(2, [0])[0], _text(value, 1))
    schema.enums[f"{scope}.{_text(found, 1)}"] = values


def _add_message(schema, scope, data):
    found = _collect(data)
    name = f"{scope}.{_text(found, 1)}"
    message = schema.messages[name] = Message(name)
    message.is_map_entry = bool(_collect(found[7][0]).get(7, [0])[0]) if 7 in found else False
    for nested in found.get(3, []):
        _add_message(schema, name, nested)
    for nested in found.get(4, []):
        _add_enum(schema, name, nested)
    oneofs = [_text(_collect(oneof), 1) for oneof in found.get(8, [])]
    for field in map(_collect, found.get(2, [])):
        kind = TYPES[field[5][0]]
        explicit = bool(field.get(17, [0])[0])
        label = "repeated" if field.get(4, [1])[0] == 3 else "optional" if explicit else "singular"
        oneof = oneofs[field[9][0]] if 9 in field and not explicit else ""
        type_name = _text(field, 6).removeprefix(".") or kind
        if label == "repeated" and type_name in schema.messages and schema.messages[type_name].is_map_entry:
            label = "map"
        message.fields[field[3][0]] = Field(_text(field, 1), field[3][0], label, type_name, kind, oneof)
    for reserved in map(_collect, found.get(9, [])):
        message.reserved.append(range(reserved.get(1, [0])[0], reserved[2][0]))


def parse(data):
    """The schema that a serialised FileDescriptorSet holds."""
    schema = Schema()
    for file in map(_collect, _collect(data).get(1, [])):
        package = _text(file, 2)
        for message in file.get(4, []):
            _add_message(schema, package, message)
        for enum in file.get(5, []):
            _add_enum(schema, package, enum)
        for service in map(_collect, file.get(6, [])):
            methods = {}
            for method in map(_collect, service.get(2, [])):
                name = _text(method, 1)
                methods[name] = Method(name, _text(method, 2).removeprefix("."), _text(method, 3).removeprefix("."),
                                       bool(method.get(5, [0])[0]), bool(method.get(6, [0])[0]))  # fmt: skip
            schema.services[f"{package}.{_text(service, 1)}"] = methods
    return schema


def own(schema):
    """The schema without the types that come with protoc."""
    return Schema(*({name: value for name, value in part.items() if not name.startswith("google.protobuf.")}
                    for part in (schema.messages, schema.enums, schema.services)))  # fmt: skip


def load(path):
    return parse(pathlib.Path(path).read_bytes())


def compile_set(proto_directory=ROOT / "proto"):
    """protoc's serialised FileDescriptorSet of all files below a directory; RuntimeError with its words where it refuses them."""
    protoc = shutil.which("protoc")
    if protoc is None:
        raise RuntimeError("protoc: not found on PATH\n  try: deploy/install-dependencies.sh")
    proto_directory = pathlib.Path(proto_directory)
    files = sorted(str(path.relative_to(proto_directory)) for path in proto_directory.rglob("*.proto"))
    with tempfile.TemporaryDirectory(prefix="ballast-proto-") as directory:
        out = pathlib.Path(directory) / "set.binpb"
        done = subprocess.run(
            [protoc, f"--proto_path={proto_directory}", "--include_imports", f"--descriptor_set_out={out}", *files],
            capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return out.read_bytes()


def compile_schema(proto_directory=ROOT / "proto"):
    return parse(compile_set(proto_directory))
