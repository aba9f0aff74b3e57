#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the libraries export is what the headers declare, and they keep no state.

- libdml.so exports exactly the functions that include/dml declares with DML_API;
- libdml.a defines global names dml_* and dml__* only, so it disturbs no program;
- no object has writable static data: all state hangs off a context. The exceptions
  stand in STATE, each with its reason.
Usage: symbols.py ROOT LIBDML.SO LIBDML.A [NM]
"""

import re
import subprocess
import sys

import tree

# Name of a variable -> why it may be writable.
STATE = {
    "dml__fake_driver": "stands for a GPU driver, whose state is the process's",
    "fake_driver_gate": "its lock",
    "left_to_mpi": "memory that MPI may use until the process ends, when no context is left",
    "fake_thread_mode": "what a driver keeps of a thread",
}

DECLARED = re.compile(r"^DML_API\s+[^;{]*?\b(dml_\w+)\s*\(", re.M)


def nm(program, *arguments):
    """(name, class, section) of every symbol; names without a compiler's suffix."""
    out = subprocess.run([program, "--format=sysv", *arguments], check=True,
                         capture_output=True, text=True).stdout
    for line in out.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 7:
            yield fields[0], fields[2], fields[6]


def declared(top):
    names = {}
    for path in tree.files(top, ".h", folders=("include/dml",)):
        for name in DECLARED.findall(tree.without_comments(tree.read(top, path))):
            names[name] = path
    return names


def main():
    top, shared, archive = sys.argv[1:4]
    program = sys.argv[4] if len(sys.argv) > 4 else "nm"
    report = tree.Report()
    public = declared(top)
    exported = {name for name, _, _ in nm(program, "-D", "--defined-only", shared)}
    for name in sorted(public.keys() | exported):
        report.looked_at(name)
        if name not in exported:
            report.fault(name, 1, f"declared in {public[name]}, defined nowhere")
        elif name not in public:
            report.fault(name, 1, "exported, but declared in no public header")
    for name, kind, section in nm(program, "--defined-only", archive):
        if kind.isupper() and not name.startswith("dml_"):
            report.fault(name, 1, "global name in libdml.a without dml_")
        writable = re.match(r"\.(t?data|t?bss)\b(?!\.rel\.ro)", section)
        if (writable or section == "*COM*") and kind in "dDbBC" and name not in STATE:
            report.fault(name, 1, f"writable static data ({section})")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
