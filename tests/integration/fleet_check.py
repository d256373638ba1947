#!/usr/bin/env python3
"""What a fleet promised, checked after the fact: in the coordinator's database, in the workers' data directories, and in what a witness saw.

    fleet_check.py [--running] [--witness DIR] DB DATA_DIR...

How does it know what was acknowledged? A worker deletes a record from its spool for one reason alone, the acknowledgement, and numbers records
without gaps. So whatever is missing from the spool below its highest number was acknowledged, and must be in the database. A witness (SpoolWitness)
makes this independent of the numbers: it links every file of the spools elsewhere as soon as it sees it, so that the bytes outlive their deletion,
and each of these records must be in the database byte for byte. That asks for more than what was acknowledged: for all that was ever durable on a
device.

Without --running everything has ended: no run may be open and no spool may hold anything. Prints figures; each fault is a line on standard error,
and exit code 1.
"""

import argparse
import collections
import contextlib
import dataclasses
import errno
import os
import pathlib
import re
import sqlite3
import struct
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "contract"))

import proto_schema  # noqa: E402

Record = collections.namedtuple("Record", "run_id attempt seq kind content")  # kind: started, chunk, finished; content: its bytes

LOST_SAMPLES = re.compile(r"\((\d+) samples are lost: ")


def _crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC32C = _crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def frame(payload):
    """A record's bytes as they stand in a file of a spool."""
    return struct.pack("<II", len(payload), crc32c(payload)) + payload


def read_segment(path):
    """The whole and undamaged records of a file of a spool, up to the first that is not (docs/worker.md, "The spool")."""
    content = pathlib.Path(path).read_bytes()
    kinds = {4: "started", 5: "chunk", 6: "finished"}
    at = 0
    while at + 8 <= len(content):
        length, checksum = struct.unpack_from("<II", content, at)
        payload = content[at + 8 : at + 8 + length]
        if length == 0 or len(payload) < length or crc32c(payload) != checksum:
            return
        fields = {number: value for number, _, value in proto_schema.fields_of(payload)}
        kind = next(number for number in kinds if number in fields)
        yield Record(fields[1].decode(), fields[2], fields[3], kinds[kind], bytes(fields[kind]))
        at += 8 + length


def read_spool(directory):
    """(records, directories of attempts) below a data directory's `spool`, or below the directory of a witness."""
    records, attempts = [], []
    for attempt in sorted(pathlib.Path(directory).glob("*@*")):
        attempts.append(attempt)
        for segment in sorted(attempt.glob("*.seg*")):
            with contextlib.suppress(FileNotFoundError):
                records += read_segment(segment)
    return records, attempts


class SpoolWitness:
    """Links the files of spools into DIRECTORY/DEVICE/RUN@ATTEMPT as they appear, from a thread of its own, until `close`.

    From another file system they cannot be linked: they are held open instead, and copied by `close`.
    """

    INTERVAL_S = 0.005

    def __init__(self, directory, spools):
        self.directory = pathlib.Path(directory)
        self.spools = {name: pathlib.Path(path) for name, path in spools.items()}
        self._stop = threading.Event()
        self._seen = set()
        self._held = {}  # path of the copy -> open file
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._stop.wait(self.INTERVAL_S):
            self.look()

    def look(self):
        for device, spool in self.spools.items():
            with contextlib.suppress(FileNotFoundError):
                for attempt in sorted((spool / "spool").iterdir()):
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        self._look_at(device, attempt)

    def _look_at(self, device, attempt):
        for path in sorted(attempt.iterdir()):
            if ".seg" not in path.name:
                continue
            with contextlib.suppress(FileNotFoundError):
                # A file that is replaced has another inode.
                inode = path.stat().st_ino
                if (device, attempt.name, path.name, inode) in self._seen:
                    continue
                target = self.directory / device / attempt.name / f"{path.name}.{inode}"
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(path, target)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    self._held[target] = path.open("rb")
                self._seen.add((device, attempt.name, path.name, inode))

    def close(self):
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        self.look()
        for target, file in self._held.items():
            with file:
                target.write_bytes(file.read())


@dataclasses.dataclass
class Figures:
    runs: int = 0
    open_runs: int = 0
    attempts: int = 0
    given_up: int = 0
    late_results: int = 0
    chunks: int = 0
    samples: int = 0
    lost_samples: int = 0
    in_spools: int = 0
    witnessed: int = 0
    outcomes: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    def __str__(self):
        outcomes = ", ".join(f"{count} {kind}" for kind, count in sorted(self.outcomes.items()))
        return (f"{self.runs} runs ({self.open_runs} open; {outcomes}), {self.attempts} attempts, {self.given_up} of them given up, "
                f"{self.late_results} late results, {self.chunks} chunks with {self.samples} samples ({self.lost_samples} told to be lost), "
                f"{self.in_spools} records in spools, {self.witnessed} records witnessed")  # fmt: skip


class FleetCheck:
    def __init__(self, database, data_directories, witness=None, running=False):
        self.schema = proto_schema.compile_schema()
        self.running = running
        self.data_directories = [pathlib.Path(directory) for directory in data_directories]
        self.witness = pathlib.Path(witness) if witness else None
        self.faults = []
        self.figures = Figures()
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            self._read(connection)

    def _read(self, connection):
        connection.execute("BEGIN")  # one view of everything
        for (finding,) in connection.execute("PRAGMA integrity_check"):
            if finding != "ok":
                self.fault(f"database: {finding}")
        self.runs, self.columns = {}, {}
        for run_id, state, outcome, message in connection.execute("SELECT run_id, state, outcome, message FROM runs ORDER BY run_id"):
            self.runs[run_id] = self.schema.decode("ballast.v1.Run", message)
            self.columns[run_id] = (self._name("ballast.v1.Run.State", state), self._name("ballast.v1.OutcomeKind", outcome))
        self.jobs = [self.schema.decode("ballast.v1.Job", message) for (message,) in connection.execute("SELECT message FROM jobs")]
        self.chunks = collections.defaultdict(dict)  # (run, attempt) -> seq -> bytes
        for run_id, attempt, seq, message in connection.execute("SELECT run_id, attempt, seq, message FROM chunks"):
            if seq in self.chunks[run_id, attempt]:
                self.fault(f"{run_id}@{attempt}: chunk {seq} is stored twice")
            self.chunks[run_id, attempt][seq] = message
        self.rollups = {
            (run_id, attempt, metric): count
            for run_id, attempt, metric, count in connection.execute("SELECT run_id, attempt, metric_id, value_count FROM rollups")
        }

    def _name(self, enum, number):
        return self.schema.enums[enum].get(number, number)

    def fault(self, text):
        self.faults.append(text)

    def check(self):
        """The faults, one sentence each."""
        for run in self.runs.values():
            self._check_run(run)
        for job in self.jobs:
            self._check_job(job)
        for (run_id, attempt), chunks in self.chunks.items():
            self._check_rollups(run_id, attempt, chunks)
        self._check_spools()
        self._check_witness()
        return self.faults

    def _check_run(self, run):
        run_id, figures = run["run_id"], self.figures
        kind = run.get("outcome", {}).get("kind", "OUTCOME_KIND_UNSPECIFIED")
        figures.runs += 1
        if self.columns[run_id] != (run.get("state"), kind):
            self.fault(f"{run_id}: the columns say {self.columns[run_id]}, the message {run.get('state'), kind}")
        numbers = [attempt["attempt"] for attempt in run["attempts"]]
        if numbers != list(range(1, len(numbers) + 1)):
            self.fault(f"{run_id}: its attempts are {numbers}")
        if run.get("state") == "ENDED":
            figures.outcomes[kind] += 1
            last = run["attempts"][-1] if run["attempts"] else None
            if kind == "OUTCOME_KIND_UNSPECIFIED":
                self.fault(f"{run_id}: it has ended without an outcome")
            elif last and "result" in last and last["result"]["outcome"].get("kind") != kind:
                self.fault(f"{run_id}: its outcome is {kind}, that of its last attempt {last['result']['outcome'].get('kind')}")
        else:
            figures.open_runs += 1
            if kind != "OUTCOME_KIND_UNSPECIFIED":
                self.fault(f"{run_id}: it is {run.get('state')} and has the outcome {kind}")
            if not self.running:
                self.fault(f"{run_id}: it is still {run.get('state')}")
        late = collections.Counter(result["attempt"] for result in run["late_results"])
        figures.late_results += len(run["late_results"])
        for number, count in late.items():
            if count > 1:
                self.fault(f"{run_id}@{number}: {count} late results")
        for attempt in run["attempts"]:
            figures.attempts += 1
            number = attempt["attempt"]
            figures.given_up += attempt.get("given_up", False)
            if "result" not in attempt and (number < len(numbers) or run.get("state") == "ENDED"):
                self.fault(f"{run_id}@{number}: it is over without a result")
            if number in late and not attempt.get("given_up"):
                self.fault(f"{run_id}@{number}: it has a result of its own and a late one")
            device_word = next((result["result"] for result in run["late_results"] if result["attempt"] == number), None)
            if device_word is None and not attempt.get("given_up"):
                device_word = attempt.get("result")
            self._check_telemetry(run_id, number, device_word)

    def _check_telemetry(self, run_id, attempt, result):
        """The chunks of an attempt; `result` is what the device said of it, or None."""
        chunks = self.chunks.get((run_id, attempt), {})
        self.figures.chunks += len(chunks)
        samples, last_end = 0, None
        for seq in sorted(chunks):
            header = self.schema.decode("ballast.v1.Chunk", chunks[seq])["header"]
            samples += header.get("sample_count", 0)
            start, end = (_seconds(header.get(name)) for name in ("start_offset", "end_offset"))
            if last_end is not None and start < last_end:
                self.fault(f"{run_id}@{attempt}: chunk {seq} begins at {start} s, before the end of the one before, {last_end} s")
            last_end = end
        self.figures.samples += samples
        if result is None:
            return  # what is there so far is checked together with the spools
        if sorted(chunks) != list(range(2, 2 + len(chunks))):
            self.fault(f"{run_id}@{attempt}: its chunks are {sorted(chunks)}: they must follow each other from 2 to the end")
        lost = LOST_SAMPLES.search(result["outcome"].get("message", ""))
        lost_count = int(lost.group(1)) if lost else 0
        self.figures.lost_samples += lost_count
        if result.get("sample_count", 0) != samples + lost_count:
            taken = result.get("sample_count", 0)
            self.fault(f"{run_id}@{attempt}: the device took {taken} samples, {samples} are stored and {lost_count} told to be lost")

    def _check_rollups(self, run_id, attempt, chunks):
        """A chunk that was applied twice would be counted twice."""
        counts = collections.Counter()
        for message in chunks.values():
            for summary in self.schema.decode("ballast.v1.Chunk", message)["header"]["summaries"]:
                counts[summary["metric_id"]] += summary.get("count", 0)
        for metric, count in counts.items():
            counted = self.rollups.get((run_id, attempt, metric), 0)
            if counted != count:
                self.fault(f"{run_id}@{attempt}: metric {metric} counts {counted} values, its chunks have {count}")

    def _check_job(self, job):
        runs = [run for run in self.runs.values() if run["job_id"] == job["job_id"]]
        ended = sum(run.get("state") == "ENDED" for run in runs)
        counted = job.get("ended_run_count", 0), job.get("run_count", 0)
        if counted != (ended, len(runs)):
            self.fault(f"{job['job_id']}: it counts {counted[0]} of {counted[1]} runs as ended, {ended} of {len(runs)} have")
        if (job["state"] in ("FINISHED", "CANCELLED")) != (ended == len(runs)):
            self.fault(f"{job['job_id']}: it is {job['state']} with {ended} of {len(runs)} runs ended")

    def _stored(self, record):
        """Why a record is not in the database as it should be; empty where it is."""
        run = self.runs.get(record.run_id)
        name = f"{record.run_id}@{record.attempt}"
        if run is None or not any(attempt["attempt"] == record.attempt for attempt in run["attempts"]):
            return f"{name}: there is no such attempt"
        if record.kind == "chunk":
            stored = self.chunks.get((record.run_id, record.attempt), {}).get(record.seq)
            if stored is None:
                return f"{name}: chunk {record.seq} is not stored"
            return "" if stored == record.content else f"{name}: chunk {record.seq} is stored with other content"
        attempt = run["attempts"][record.attempt - 1]
        if record.kind == "started":
            return "" if "start_time" in attempt or attempt.get("given_up") else f"{name}: its beginning is not stored"
        if any(result["attempt"] == record.attempt for result in run["late_results"]):
            return ""
        if "result" not in attempt or attempt.get("given_up"):
            return f"{name}: what the device says of its end (record {record.seq}) is not stored"
        chunks = self.chunks.get((record.run_id, record.attempt), {})
        if len(chunks) != record.seq - 2:
            return f"{name}: {len(chunks)} chunks before its last record, which is {record.seq}"
        return ""

    def _check_spools(self):
        for directory in self.data_directories:
            if not directory.is_dir():
                self.fault(f"{directory}: there is no such directory")
                continue
            for left in sorted((directory / "set_aside").glob("*")):
                self.fault(f"{left}: it was set aside")
            records, attempts = read_spool(directory / "spool")
            self.figures.in_spools += len(records)
            if not self.running:
                for attempt in attempts:
                    waiting = [record.seq for record in records if f"{record.run_id}@{record.attempt}" == attempt.name and self._stored(record)]
                    self.fault(f"{attempt}: it is left, " + (f"records {waiting} are not stored" if waiting else "and all of it is stored"))
            seqs = collections.defaultdict(set)
            for record in records:
                seqs[record.run_id, record.attempt].add(record.seq)
            for (run_id, number), there in seqs.items():
                missing = set(range(2, max(there))) - there - set(self.chunks.get((run_id, number), {}))
                if missing:
                    self.fault(f"{run_id}@{number}: records {sorted(missing)} are neither in the spool nor in the database")

    def _check_witness(self):
        if self.witness is None:
            return
        contents = {}
        for device in sorted(self.witness.iterdir()) if self.witness.is_dir() else []:
            for record in read_spool(device)[0]:
                key = record[:3]
                if contents.setdefault(key, record) != record:
                    self.fault(f"{record.run_id}@{record.attempt}: record {record.seq} was written twice, with two contents")
        self.figures.witnessed = len(contents)
        if not self.running:
            for record in contents.values():
                reason = self._stored(record)
                if reason:
                    self.fault(reason + " although the device had it")


def _seconds(duration):
    return (duration or {}).get("seconds", 0) + (duration or {}).get("nanos", 0) / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--running", action="store_true", help="runs may be open, and spools may hold records")
    parser.add_argument("--witness", help="directory of a SpoolWitness")
    parser.add_argument("database", help="the coordinator's ballast.db")
    parser.add_argument("data_directory", nargs="*", help="data directories of workers")
    arguments = parser.parse_args()
    try:
        check = FleetCheck(arguments.database, arguments.data_directory, arguments.witness, arguments.running)
    except (sqlite3.Error, RuntimeError) as error:
        print(f"error: {arguments.database}: {error}", file=sys.stderr)
        return 1
    for fault in check.check():
        print(f"error: {fault}", file=sys.stderr)
    print(check.figures)
    return 1 if check.faults else 0


if __name__ == "__main__":
    sys.exit(main())
