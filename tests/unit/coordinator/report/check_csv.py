"""Checks a CSV report with an independent reader (Python's csv module).

check_csv.py CSV EXPECTED

EXPECTED is a JSON list with an object a row: the cells that must be there; numbers are compared as numbers. Exits with 1 and says why where anything is not as
it should be.
"""

import csv
import io
import json
import sys


def main():
    csv_path, expected_path = sys.argv[1:]
    with open(csv_path, "rb") as file:
        content = file.read()
    with open(expected_path, encoding="utf-8") as file:
        expected = json.load(file)

    failures = []
    if not content.startswith(b"\xef\xbb\xbf"):
        failures.append("no byte order mark")
    if not content.endswith(b"\r\n"):
        failures.append("the last record does not end with CRLF")
    header, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    if len(set(header)) != len(header):
        failures.append("a column stands twice")
    if len(rows) != len(expected):
        failures.append(f"{len(rows)} rows instead of {len(expected)}")
    for number, (row, cells) in enumerate(zip(rows, expected), start=1):
        if len(row) != len(header):
            failures.append(f"row {number} has {len(row)} fields instead of {len(header)}")
            continue
        record = dict(zip(header, row))
        for name, value in cells.items():
            cell = record.get(name)
            same = cell is not None and (cell == value if isinstance(value, str) else float(cell) == value)
            if not same:
                failures.append(f"row {number}: {name} is {cell!r} instead of {value!r}")

    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
