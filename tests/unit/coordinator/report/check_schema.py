"""Checks a JSON document against a JSON Schema with an independent validator (Debian's python3-jsonschema).

check_schema.py SCHEMA DOCUMENT [--kind=report|comparison]

With --kind, broken copies of the document are made too, each of which must be refused. Exits with 1 and says why where anything is not as it should be.
"""

import copy
import json
import sys

from jsonschema import Draft202012Validator


def reject_constant(name):
    raise ValueError(f"{name} is no JSON")


def set_to(*path_and_value):
    """A change that sets the member at a path to a value."""
    *path, last, value = path_and_value

    def change(document):
        for key in path:
            document = document[key]
        document[last] = value

    return change


def remove(*path):
    """A change that removes the member at a path."""

    def change(document):
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


CHANGES = {
    "report": [
        remove("schema_version"),
        remove("overall"),
        remove("runs", 0, "run", "outcome"),
        remove("runs", 0, "figures", 0, "value"),
        remove("jobs", 0, "spec", "workload", "pressure", "staircase", "steps"),
        set_to("schema_version", "1"),
        set_to("schema_version", None),
        set_to("no_such_field", 1),
        set_to("jobs", 0, "spec", "workload", "no_such_workload", {}),
        set_to("jobs", 0, "spec", "workload", "pressure", "burst", {"target_percent": 70, "duration_seconds": 5}),
        set_to("jobs", 0, "spec", "workload", "pressure", "staircase", "interval_seconds", "1s"),
        set_to("jobs", 0, "spec", "annotations", "commit", 7),
        set_to("jobs", 0, "run_count", -1),
        set_to("jobs", 0, "state", "NO_SUCH_STATE"),
        set_to("jobs", 0, "create_time", "yesterday"),
        set_to("jobs", 0, "create_time", 1772600000),
        set_to("devices", 0, "facts", "memory_bytes", "4117528576"),
        set_to("devices", 0, "facts", "capabilities", 0, 7),
        set_to("runs", 0, "run", "attempts", 0, "result", "steps", 0, "held_bytes", 1.5),
        set_to("runs", 0, "run", "outcome", "kind", "EXPLODED"),
        set_to("runs", 0, "samples", "columns", 0, "values", 0, "1"),
        set_to("runs", 0, "events", {}),
        set_to("runs", 0, None),
        set_to("runs", None),
        set_to("warnings", [1]),
    ],
    "comparison": [
        remove("dimension"),
        remove("rows", 0, "cells", 0, "n"),
        remove("rows", 0, "cells", 0, "p_value"),
        set_to("rows", 0, "cells", 0, "change_percent", "12%"),
        set_to("rows", 0, "direction", "SIDEWAYS"),
        set_to("groups", 0, "run_count", 2**32),
        set_to("groups", 0, "outcomes", 0, "outcome", 1),
        set_to("groups", 0, "extra", True),
        set_to("groups", {}),
    ],
}


def main():
    schema_path, document_path, *options = sys.argv[1:]
    with open(schema_path, encoding="utf-8") as file:
        schema = json.load(file)
    with open(document_path, encoding="utf-8") as file:
        document = json.load(file, parse_constant=reject_constant)

    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    failures = [f"{document_path}: {error.json_path}: {error.message[:300]}" for error in validator.iter_errors(document)]

    for option in options:
        for number, change in enumerate(CHANGES[option.removeprefix("--kind=")]):
            broken = copy.deepcopy(document)
            change(broken)
            if broken == document:
                failures.append(f"change {number} changes nothing")
            elif validator.is_valid(broken):
                failures.append(f"change {number} is not refused")

    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
