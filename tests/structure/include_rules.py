#!/usr/bin/env python3
"""Fails on an include that breaks the rules of dependency, and on circles of includes.

    include_rules.py [ROOT]

Reads the #include lines of every source file under ROOT (the repository by default). Prints one line a problem,
`FILE:LINE: what is included, the rule, what is allowed`, and exits 1 where there is any. docs/architecture.md explains the
rules; RULES and RESTRICTED below are the rules themselves. Tests may include anything, and so may main.cc, which wires the
concrete parts of a program together.
"""

import fnmatch
import pathlib
import re
import sys

PROTO = "ballast/v1"  # generated messages
# The library's public headers are included as they are where they are installed: `ballast/memory_guard.h`.
PUBLIC = "ballast"
PUBLIC_FOLDER = "worker/memory/ballast"

# Folder -> what its files may include of this project, besides their own folder. The longest folder that matches counts; `*` is one
# name, and each folder it stands for is one of its own. An entry allows a folder and what is below it; with `/*.h` at its end only the
# headers directly in it. A folder with sources that is not here is a problem: say what it may include.
RULES = {
    "cmake": [],  # compiles what a library's headers carry
    "common/*": ["common", PROTO],
    "storage": ["common", PROTO],
    "storage/sqlite": ["storage/*.h", "common", PROTO],
    "coordinator/core": ["common/base", "common/jobs", PROTO],
    "coordinator/models": ["common", PROTO],
    "coordinator/report": ["storage/*.h", "common", PROTO],
    "coordinator/retention": ["storage/*.h", "common", PROTO],
    "coordinator/rpc": ["coordinator/core", "coordinator/models", "coordinator/report", "coordinator/retention", "storage/*.h", "common", PROTO],
    "worker/pressure": ["common", PROTO],
    "worker/model": ["common", PROTO],
    "worker/telemetry": ["common", PROTO],
    "worker/environment": ["common", PROTO],
    "worker/guard": ["common", PROTO],
    "worker/runner": ["worker/pressure", "worker/model", "common", PROTO],
    "worker/agent": ["worker", "common", PROTO],
    "worker/memory": ["worker", "common", PROTO],
    PUBLIC_FOLDER: [PROTO],  # installed: nothing else of this project is
    "examples/*": [PUBLIC_FOLDER, PROTO],
    "cli": ["common", PROTO],
}

# Pattern of an include -> the files that may have it, why only those, and whether headers that other folders reach must do without.
RESTRICTED = [
    {
        "include": "*.grpc.pb.h",
        "allowed": ["common/rpc/*", "coordinator/rpc/*", "worker/agent/session/*", "cli/*"],
        "reason": "services exist at the edges only",
        "hidden": False,
    },
    {
        "include": "grpcpp/*",
        "allowed": ["common/rpc/*", "coordinator/rpc/*", "worker/agent/*", "cli/*"],
        "reason": "everything else builds without gRPC",
        "hidden": False,
    },
    {
        "include": "sqlite3.h",
        "allowed": ["storage/sqlite/*"],
        "reason": "the rest of the program knows only storage/store.h",
        "hidden": True,
    },
    {
        "include": "yaml-cpp/*",
        "allowed": ["common/config/*"],
        "reason": "one reader for all YAML",
        "hidden": True,
    },
    {
        "include": ["thread", "mutex", "shared_mutex", "condition_variable", "future", "atomic", "stop_token", "ctime", "random",
                    "sys/*", "unistd.h", "pthread.h", "time.h", "fstream", "filesystem"],
        "allowed": ["cmake/*", "common/*", "storage/*", "coordinator/models/*", "coordinator/rpc/*", "coordinator/report/*",
                    "coordinator/retention/*", "worker/*", "cli/*"],
        "reason": "coordinator/core is pure: events and a time in, actions out",
        "hidden": False,
    },
]

SOURCE_SUFFIXES = {".h", ".hpp", ".inc", ".cc", ".cpp"}
SKIPPED_FOLDERS = {"build", "tests"}  # at the top
EXEMPT_NAMES = {"main.cc"}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


class Tree:
    """The sources under a root: their includes, in order, with line numbers."""

    def __init__(self, root):
        self.root = root
        self.includes = {}  # path -> [(line, included)]
        for path in sorted(root.rglob("*")):
            relative = path.relative_to(root)
            if relative.parts[0] in SKIPPED_FOLDERS or any(part.startswith(".") for part in relative.parts):
                continue
            if path.suffix in SOURCE_SUFFIXES and path.is_file():
                self.includes[relative.as_posix()] = list(read_includes(path))

    def is_own(self, included):
        """Whether an include names a file of this project, also one that is generated or missing."""
        if included in self.includes or included.startswith(PROTO + "/"):
            return True
        top = included.split("/")[0]
        return "/" in included and any(folder.split("/")[0] == top for folder in RULES)


def read_includes(path):
    text = path.read_text(encoding="utf-8", errors="replace")
    # Comments go, lines stay, so that the numbers are right.
    text = BLOCK_COMMENT.sub(lambda match: "\n" * match.group().count("\n"), text)
    for number, line in enumerate(text.splitlines(), start=1):
        match = INCLUDE.match(line)
        if match:
            yield number, in_tree(match.group(1))


def in_tree(included):
    """Where a public header lies; everything else is what it is."""
    if included.startswith(PUBLIC + "/") and not included.startswith(PROTO + "/"):
        return PUBLIC_FOLDER + included[len(PUBLIC) :]
    return included


def is_exempt(path):
    return path.rsplit("/", 1)[-1] in EXEMPT_NAMES


def unit_of(path):
    """(folder, rule) of the library that a file belongs to, or None where there is no rule for it."""
    parts = path.split("/")[:-1]
    best = None
    for rule in RULES:
        names = rule.split("/")
        folder = parts[: len(names)]
        if len(folder) == len(names) and all(fnmatch.fnmatchcase(a, b) for a, b in zip(folder, names)):
            if best is None or len(names) > len(best[1].split("/")):
                best = ("/".join(folder), rule)
    return best


def is_allowed(included, allowed):
    if allowed.endswith("/*.h"):
        return included.rsplit("/", 1)[0] == allowed[: -len("/*.h")]
    return included.startswith(allowed + "/")


def matches(name, patterns):
    if isinstance(patterns, str):
        patterns = [patterns]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def check_folders(tree):
    """Includes across folders that RULES does not allow."""
    for path, includes in tree.includes.items():
        if is_exempt(path):
            continue
        unit = unit_of(path)
        if unit is None:
            yield f"{path}:1: no rule says what {path.rsplit('/', 1)[0] if '/' in path else 'this folder'} may include; add it to RULES"
            continue
        folder, rule = unit
        for line, included in includes:
            if not tree.is_own(included):
                if (tree.root / path).parent.joinpath(included).is_file():
                    yield f"{path}:{line}: includes \"{included}\" beside it; write the path from the top of the repository"
                continue
            if unit_of(included) == unit or any(is_allowed(included, allowed) for allowed in RULES[rule]):
                continue
            allowed = ", ".join(RULES[rule])
            yield f"{path}:{line}: includes \"{included}\"; {folder} may include only {allowed} and itself"


def check_restricted(tree):
    """Includes that only some files may have."""
    for path, includes in tree.includes.items():
        if is_exempt(path):
            continue
        for line, included in includes:
            for rule in RESTRICTED:
                if matches(included, rule["include"]) and not matches(path, rule["allowed"]):
                    yield (f"{path}:{line}: includes <{included}>; {rule['reason']}: "
                           f"it is allowed only in {', '.join(rule['allowed'])}")


def check_hidden(tree):
    """Headers that bring something hidden into another folder."""
    for path, includes in tree.includes.items():
        for line, included in includes:
            if included not in tree.includes or unit_of(included) == unit_of(path):
                continue
            for rule in RESTRICTED:
                if not rule["hidden"] or not matches(included, rule["allowed"]):
                    continue
                chain = chain_to(tree, included, rule["include"])
                if chain:
                    yield (f"{path}:{line}: brings in {' -> '.join(chain)}; {rule['reason']}: "
                           f"keep it out of headers that other folders include")


def chain_to(tree, header, pattern):
    """The shortest chain of includes from a header to one that matches; None where there is none."""
    queue = [[header]]
    seen = {header}
    for chain in queue:
        for _, included in tree.includes.get(chain[-1], []):
            if matches(included, pattern):
                return chain + [included]
            if included in tree.includes and included not in seen:
                seen.add(included)
                queue.append(chain + [included])
    return None


def find_circle(edges):
    """One circle in a graph {node: {successor: anything}} as [a, b, …, a]; None where there is none."""
    state = {}  # 1 while on the path, 2 when done
    for start in sorted(edges):
        if start in state:
            continue
        state[start] = 1
        path = [start]
        pending = [iter(sorted(edges[start]))]
        while path:
            for node in pending[-1]:
                if state.get(node) == 1:
                    return path[path.index(node):] + [node]
                if node not in state:
                    state[node] = 1
                    path.append(node)
                    pending.append(iter(sorted(edges.get(node, {}))))
                    break
            else:
                state[path.pop()] = 2
                pending.pop()
    return None


def check_file_circles(tree):
    edges = {path: {included: line for line, included in includes if included in tree.includes}
             for path, includes in tree.includes.items()}
    circle = find_circle(edges)
    if circle:
        yield f"{circle[0]}:{edges[circle[0]][circle[1]]}: a circle of includes: {' -> '.join(circle)}; no file may reach itself"


def check_folder_circles(tree):
    edges = {}
    for path, includes in tree.includes.items():
        unit = unit_of(path)
        if unit is None or is_exempt(path):
            continue
        for line, included in includes:
            other = unit_of(included) if included in tree.includes else None
            if other is not None and other != unit:
                edges.setdefault(unit[0], {}).setdefault(other[0], f"{path}:{line}")
                edges.setdefault(other[0], {})
    circle = find_circle(edges)
    if circle:
        steps = ", ".join(f"{a} includes {b} ({edges[a][b]})" for a, b in zip(circle, circle[1:]))
        yield f"{edges[circle[0]][circle[1]]}: a circle of folders: {steps}; no folder may reach itself"


def check(root):
    """Every problem under a root, one line each."""
    tree = Tree(pathlib.Path(root))
    problems = []
    for one in (check_folders, check_restricted, check_hidden, check_file_circles, check_folder_circles):
        problems.extend(one(tree))
    if not tree.includes:
        problems.append(f"{root}: no sources here; name the top of the repository")
    return problems


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
    problems = check(root)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
