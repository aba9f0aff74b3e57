# SPDX-License-Identifier: BSD-3-Clause
"""What the checks share: walking the source tree, removing comments, and reporting.

A check prints one line per fault, "FILE:LINE: what is wrong", then the closing line
"N passed, N failed" that counts files, and exits with 1 when there was a fault.
"""

import os
import re
import sys

FOLDERS = (".ci", "apps", "doc", "include", "lib", "perf", "scripts", "test")
SKIP = 77  # Meson's exit status for a test that could not run


def root():
    """The source tree to check: the first argument, else the one this file is in."""
    if len(sys.argv) > 1:
        return os.path.abspath(sys.argv[1])
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files(top, *endings, folders=FOLDERS):
    """Paths relative to top of all files in the folders whose names end so, sorted."""
    found = []
    for folder in folders:
        for where, subfolders, names in os.walk(os.path.join(top, folder)):
            subfolders[:] = [s for s in subfolders if s != "__pycache__"]
            for name in names:
                path = os.path.join(where, name)
                if name.endswith(endings) and os.path.isfile(path):
                    found.append(os.path.relpath(path, top))
    return sorted(found)


def read(top, path):
    with open(os.path.join(top, path), encoding="utf-8") as file:
        return file.read()


def scripts(top):
    """(path, interpreter) of every file that starts with "#!"."""
    for path in files(top, ""):
        with open(os.path.join(top, path), "rb") as file:
            first = file.readline().decode("utf-8", "replace")
        if first.startswith("#!"):
            yield path, os.path.basename(first[2:].split()[-1])


def without_comments(text):
    """C text with comments blanked and line numbers kept; strings stay."""
    token = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*'

    def blank(match):
        found = match.group(0)
        return re.sub(r"[^\n]", " ", found) if found[0] == "/" else found

    return re.sub(token, blank, text, flags=re.S)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


class Report:
    """Collects faults; finish() prints the closing line and gives the exit status."""

    def __init__(self):
        self.faulty = set()
        self.seen = set()

    def looked_at(self, path):
        self.seen.add(path)

    def fault(self, path, line, text):
        print(f"{path}:{line}: {text}")
        self.faulty.add(path)
        self.seen.add(path)

    def finish(self):
        if not self.seen:
            print("nothing to check: is the source folder right?")
            return 1
        print(f"{len(self.seen) - len(self.faulty)} passed, {len(self.faulty)} failed")
        return 1 if self.faulty else 0
