#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every script parses and may be executed. Usage: scripts.py [ROOT]

Files that start with "#!" and batch scripts (.sbatch): the shell's own parser, or
Python's. What a script does is tested where it is used.
"""

import os
import subprocess
import sys

import tree


def main():
    top = tree.root()
    report = tree.Report()
    for path, interpreter in tree.scripts(top):
        report.looked_at(path)
        full = os.path.join(top, path)
        if interpreter in ("sh", "bash"):
            out = subprocess.run([interpreter, "-n", full], capture_output=True,
                                 text=True)
            if out.returncode != 0:
                report.fault(path, 1, out.stderr.strip().replace(full, path))
        elif interpreter.startswith("python"):
            try:
                compile(tree.read(top, path), path, "exec")
            except SyntaxError as error:
                report.fault(path, error.lineno, error.msg)
        else:
            report.fault(path, 1, f"no check knows the interpreter \"{interpreter}\"")
        if not os.access(full, os.X_OK) and not path.endswith(".sbatch"):
            report.fault(path, 1, "starts with #! but is not executable")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
