#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Hold the limits on size and form that keep the code readable.

C: the licence line first, in a .c file then what the file does; lines of at most 88
columns, files of at most 400 lines, functions of at most 60. All text: no tabs, no
blanks at line ends, no marks of unfinished work. Exceptions stand in EXCEPTIONS, each
with its reason. Usage: style.py [ROOT]
"""

import re
import sys

import tree

COLUMNS = 88
FILE_LINES = 400
FUNCTION_LINES = 60

# (path, rule) -> why the rule does not hold there. Rules: "file lines", "columns",
# "function lines", "marks". A row whose fault is gone is itself a fault.
EXCEPTIONS = {
    ("test/check/planted.py", "marks"): "plants the marks that this check looks for",
}

LICENCE = "SPDX-License-Identifier: BSD-3-Clause"
MARK = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|#[ \t]*if[ \t]+0\b")


def function_lengths(lines):
    """(line, length) of every function: signature to closing brace, both at column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
            while start > 1 and lines[start - 2] and lines[start - 2][0] not in "#}/*":
                start -= 1
        elif line == "}" and start is not None:
            yield start, number - start + 1
            start = None


def faults(path, text):
    """(line, rule, text) of every fault of one file."""
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    else:
        yield len(lines), "form", "no newline at the end"
    is_c = path.endswith((".c", ".h", ".cu", ".cuh"))
    if is_c and lines[:1] != [f"/* {LICENCE} */"]:
        yield 1, "form", f"first line is not /* {LICENCE} */"
    if path.endswith(".c") and not (len(lines) > 1 and lines[1].startswith("/*")):
        yield 2, "form", "no comment on what this file does"
    if not is_c and lines and lines[0].startswith("#!") and LICENCE not in lines[1]:
        yield 2, "form", f"second line of a script is not # {LICENCE}"
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            yield number, "form", "tab"
        if line != line.rstrip():
            yield number, "form", "blanks at the end of the line"
        if is_c and len(line) > COLUMNS:
            yield number, "columns", f"{len(line)} columns, at most {COLUMNS}"
        if MARK.search(line):
            yield number, "marks", "mark of unfinished work"
    if not is_c:
        return
    if len(lines) > FILE_LINES:
        yield 1, "file lines", f"{len(lines)} lines, at most {FILE_LINES}"
    for number, length in function_lengths(lines):
        if length > FUNCTION_LINES:
            yield (number, "function lines",
                   f"function of {length} lines, at most {FUNCTION_LINES}")


def main():
    top = tree.root()
    report = tree.Report()
    unused = set(EXCEPTIONS)
    texts = set(tree.files(top, ".c", ".h", ".cu", ".cuh", ".py", ".sh", "meson.build"))
    texts.update(path for path, _ in tree.scripts(top))
    for path in sorted(texts):
        report.looked_at(path)
        for line, rule, text in faults(path, tree.read(top, path)):
            if (path, rule) in EXCEPTIONS:
                unused.discard((path, rule))
            else:
                report.fault(path, line, text)
    for path, rule in sorted(unused):
        if path in texts:
            report.fault(path, 1, f"no longer needs its exception from: {rule}")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
