"""As much of cmd.exe as the generated .bat files use, for tests on machines without Windows.

Knows set, if (/i, not, defined, errorlevel, ==), goto, labels, shift, echo, rem, setlocal, exit /b, call-free programs and
redirections; variables are read when a line is reached, as without delayed expansion. Anything else is an error.
"""

import re


def split_arguments(line):
    """A line as cmd.exe divides it into %1, %2, …: outside of quotes at every blank, comma, semicolon and equals sign; quotes stay."""
    arguments, current, quoted = [], "", False
    for character in line:
        if character == '"':
            quoted = not quoted
        if not quoted and character in " \t,;=":
            if current:
                arguments.append(current)
            current = ""
        else:
            current += character
    return arguments + [current] if current else arguments


def program_arguments(line):
    """What a program of Microsoft's C runtime makes of its command line."""
    arguments, current, quoted, at = [], None, False, 0
    while at < len(line):
        slashes = len(re.match(r"\\*", line[at:]).group(0))
        character = line[at + slashes:at + slashes + 1]
        if character == '"':
            current = (current or "") + "\\" * (slashes // 2) + ('"' if slashes % 2 else "")
            quoted = quoted if slashes % 2 else not quoted
        else:
            current = (current or "") + "\\" * slashes if slashes else current
            if character in (" ", "\t") and not quoted:
                if current is not None:
                    arguments.append(current)
                current = None
            else:
                current = (current or "") + character
        at += slashes + 1
    return arguments + [current] if current is not None else arguments


class BatchError(Exception):
    pass


class Batch:
    """Runs a script. `arguments` is the line behind its name, as it was written; `programs` maps the name of a program to a function of (command line) that returns an exit code."""

    def __init__(self, text, arguments, programs, variables=None):
        if "\n" in text.replace("\r\n", ""):
            raise BatchError("a line does not end with CR LF")
        self.lines = text.split("\r\n")
        self.raw_arguments = arguments
        self.arguments = split_arguments(arguments)
        self.programs = programs
        self.variables = {"ERRORLEVEL": "0", "CD": "C:\\here", **(variables or {})}
        self.labels = {line[1:].strip().lower(): number for number, line in enumerate(self.lines) if line.startswith(":")}
        self.out = []
        self.err = []

    def argument(self, number):
        return self.arguments[number - 1] if number <= len(self.arguments) else ""

    def expand(self, line):
        def replace(match):
            text = match.group(0)
            if text == "%%":
                return "%"
            if text == "%*":
                return self.raw_arguments
            if match.group("argument"):
                value = self.argument(int(match.group("argument")))
                return value.strip('"') if match.group("bare") else value
            if text == "%~nx0":
                return "script.bat"
            return self.variables.get(match.group("name").upper(), "")

        return re.sub(r"%%|%\*|%~nx0|%(?P<bare>~)?(?P<argument>[1-9])|%(?P<name>[A-Za-z_]+)%", replace, line)

    def condition(self, text):
        """(whether it holds, what follows it)"""
        match = re.match(r"not\s+(.*)", text, re.IGNORECASE)
        if match:
            holds, rest = self.condition(match.group(1))
            return not holds, rest
        match = re.match(r"defined\s+(\w+)\s+(.*)", text, re.IGNORECASE)
        if match:
            return bool(self.variables.get(match.group(1).upper())), match.group(2)
        match = re.match(r"errorlevel\s+(\d+)\s+(.*)", text, re.IGNORECASE)
        if match:
            return int(self.variables["ERRORLEVEL"]) >= int(match.group(1)), match.group(2)
        match = re.match(r'(/i\s+)?("[^"]*"|\[[^\]]*\])==("[^"]*"|\[[^\]]*\])\s+(.*)', text)
        if not match:
            raise BatchError(f"a condition that cmd.exe would not read: {text!r}")
        left, right = match.group(2), match.group(3)
        equal = left.lower() == right.lower() if match.group(1) else left == right
        return equal, match.group(4)

    def run(self):
        """The exit code."""
        number = 0
        for _ in range(10_000):
            if number >= len(self.lines):
                return int(self.variables["ERRORLEVEL"])
            line = self.expand(self.lines[number].lstrip("@"))
            number += 1
            jump = self.execute(line.strip())
            if isinstance(jump, int):
                return jump
            if jump is not None:
                if jump.lower() not in self.labels:
                    raise BatchError(f"no label {jump}")
                number = self.labels[jump.lower()] + 1
        raise BatchError("it does not end")

    def execute(self, line):
        """None to go on, a label to go to, or a number to exit with."""
        stream = self.out
        if line.startswith(">&2 "):
            stream, line = self.err, line[4:]
        word = re.split(r"[\s.]", line, maxsplit=1)[0].lower()
        rest = line[len(word):].strip()
        if not line or line.startswith(":") or word in ("rem", "setlocal"):
            return None
        if word == "echo":
            if rest != "off":
                stream.append(line[5:])
            return None
        if word == "if":
            holds, then = self.condition(rest)
            return self.execute(then) if holds else None
        if word == "goto":
            return rest
        if word == "shift":
            self.arguments = self.arguments[1:]
            return None
        if word == "exit":
            return int(rest.removeprefix("/b").strip())
        if word == "set":
            assignment = re.fullmatch(r'"(\w+)=(.*)"', rest) or re.fullmatch(r"(\w+)=(.*)", rest)
            if not assignment:
                raise BatchError(f"not an assignment: {rest!r}")
            self.variables[assignment.group(1).upper()] = assignment.group(2)
            return None
        if word == "for":
            loop = re.fullmatch(r"/f \"tokens=2 delims=:\.\" %A in \('chcp'\) do set \"(\w+)=%A\"", rest)
            if not loop:
                raise BatchError(f"a loop that is not known: {rest!r}")
            self.variables[loop.group(1)] = " 437"
            return None
        if word not in self.programs:
            raise BatchError(f"no such program: {line!r}")
        redirected = re.sub(r"\s*2?>nul", "", rest)
        self.variables["ERRORLEVEL"] = str(self.programs[word](redirected))
        return None
