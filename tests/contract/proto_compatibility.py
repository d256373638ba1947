#!/usr/bin/env python3
"""Holds the protocol of the working tree against the released one: what was released is never taken back.

    proto_compatibility.py            every change that a program of the release would not understand, one a line; exit code 1 if there is one
    proto_compatibility.py --release  makes the protocol of the working tree the released one, if nothing in it is taken back

The released protocol is `released/ballast.v1.binpb`, a FileDescriptorSet as protoc writes it. Adding is always allowed: files, messages, fields,
enum values, services and methods.
"""

import argparse
import os
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import proto_schema  # noqa: E402

RELEASED = pathlib.Path(__file__).resolve().parent / "released" / "ballast.v1.binpb"

ADVICE = """\
  try: keep what was released and add beside it: a new field with a number of its own, a new value, a new method. What is no longer used stays, and its
       comment says so. Programs of the release still send and expect it."""


def _field_changes(message, old, new):
    where = f"field {message}.{old.name} = {old.number}"
    if new.name != old.name:
        yield f"{where} is now called {new.name}: job files, JSON and saved reports say {old.name}"
    if new.type != old.type:
        yield f"{where} was {old.type} and is {new.type}"
    if new.label != old.label:
        yield f"{where} was {old.label} and is {new.label}"
    if new.oneof != old.oneof:
        yield f"{where} was in {old.oneof or 'no oneof'} and is in {new.oneof or 'none'}"


def _message_changes(old, new):
    numbers = {field.name: number for number, field in new.fields.items()}
    for number, field in old.fields.items():
        if number in new.fields and (new.fields[number].name == field.name or field.name not in numbers):
            yield from _field_changes(old.name, field, new.fields[number])
        elif field.name in numbers:
            yield f"field {old.name}.{field.name} = {number} has the number {numbers[field.name]} now"
        else:
            yield f"field {old.name}.{field.name} = {number} is gone"
    for number, field in new.fields.items():
        if any(number in numbers for numbers in old.reserved):
            yield f"field {old.name}.{field.name} = {number} takes a number that was reserved: an older program may still send something else in it"
    for numbers in old.reserved:
        if not all(any(number in kept for kept in new.reserved) for number in numbers) and not any(number in new.fields for number in numbers):
            yield f"message {old.name} no longer reserves {numbers.start}" + (f" to {numbers.stop - 1}" if len(numbers) > 1 else "")


def _enum_changes(name, old, new):
    numbers = {label: number for number, label in new.items()}
    for number, label in old.items():
        if new.get(number) == label:
            continue
        if label in numbers:
            yield f"value {name}.{label} = {number} has the number {numbers[label]} now"
        elif number in new:
            yield f"value {name}.{label} = {number} is now called {new[number]}"
        else:
            yield f"value {name}.{label} = {number} is gone"


def _service_changes(name, old, new):
    for method in old.values():
        where = f"method {name}.{method.name}"
        if method.name not in new:
            yield f"{where} is gone"
            continue
        now = new[method.name]
        for what in ("input", "output"):
            if getattr(now, what) != getattr(method, what):
                yield f"{where}: its {what} was {getattr(method, what)} and is {getattr(now, what)}"
        for what, side in (("client_streams", "the client"), ("server_streams", "the server")):
            if getattr(now, what) != getattr(method, what):
                yield f"{where}: {side} {'no longer streams' if getattr(method, what) else 'streams now'}"


def changes(old, new):
    """What `new` takes back of `old`, one sentence each; empty where the two fit."""
    found = []
    old, new = (proto_schema.own(schema) for schema in (old, new))
    for what, before, now in (("message", old.messages, new.messages), ("enum", old.enums, new.enums), ("service", old.services, new.services)):
        packages = {name.rsplit(".", 1)[0] for name in now}
        gone = [name for name in before if name not in now and not any(name.startswith(other + ".") for other in before if other not in now)]
        for name in gone:
            moved = [other for other in now if other not in before and other.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
            hint = f": is it {moved[0]} now? A package or a scope never changes" if moved and moved[0].rsplit(".", 1)[0] in packages else ""
            found.append(f"{what} {name} is gone{hint}")
    for name, message in old.messages.items():
        if name in new.messages:
            found += _message_changes(message, new.messages[name])
    for name, values in old.enums.items():
        if name in new.enums:
            found += _enum_changes(name, values, new.enums[name])
    for name, methods in old.services.items():
        if name in new.services:
            found += _service_changes(name, methods, new.services[name])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--proto", default=proto_schema.ROOT / "proto", help="directory of the .proto files")
    parser.add_argument("--released", default=RELEASED, type=pathlib.Path, help="the released FileDescriptorSet")
    parser.add_argument("--release", action="store_true", help="write the released set anew")
    arguments = parser.parse_args()
    try:
        current = proto_schema.compile_set(arguments.proto)
        released = proto_schema.load(arguments.released) if arguments.released.exists() else proto_schema.Schema()
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not released.messages and not arguments.release:
        print(f"error: {arguments.released}: there is no released protocol\n  try: {sys.argv[0]} --release", file=sys.stderr)
        return 1
    found = changes(released, proto_schema.parse(current))
    for change in found:
        print(f"error: {change}", file=sys.stderr)
    if found:
        print(f"{len(found)} of what {arguments.released.name} promises would be taken back\n{ADVICE}", file=sys.stderr)
        return 1
    if arguments.release:
        temporary = arguments.released.with_suffix(".new")
        temporary.write_bytes(current)
        os.replace(temporary, arguments.released)
    return 0


if __name__ == "__main__":
    sys.exit(main())
