#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""All C is as clang-format leaves it. Usage: format.py [ROOT]

Skipped where clang-format is missing, or is not the major version that .clang-format
is written for: other versions lay the same code out differently.
"""

import re
import shutil
import subprocess
import sys

import tree

VERSION = 14


def clang_format():
    """The program to use, or None."""
    for name in (f"clang-format-{VERSION}", "clang-format"):
        path = shutil.which(name)
        if path is None:
            continue
        out = subprocess.run([path, "--version"], capture_output=True, text=True)
        found = re.search(r"version (\d+)", out.stdout)
        if found and int(found[1]) == VERSION:
            return path
    return None


def main():
    top = tree.root()
    program = clang_format()
    if program is None:
        print(f"skipped: clang-format {VERSION} is not installed")
        return tree.SKIP
    report = tree.Report()
    paths = tree.files(top, ".c", ".h")
    for path in paths:
        report.looked_at(path)
    out = subprocess.run([program, "--dry-run", "--ferror-limit=1", *paths],
                         cwd=top, capture_output=True, text=True)
    for path, line in re.findall(r"^(\S+?):(\d+):\d+: warning", out.stderr, re.M):
        report.fault(path, line, "clang-format would change this (clang-format -i)")
    if out.returncode != 0 or (out.stderr and not report.faulty):
        report.fault(".clang-format", 1, "clang-format failed: " + out.stderr[:400])
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
