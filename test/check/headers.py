#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every public header compiles alone, as C11 and as C++17, without a warning.

Usage: headers.py ROOT CC [CXX] -- FLAGS OF THE MPI LIBRARY...
"""

import subprocess
import sys

import tree

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wundef", "-Werror"]
# The C++ bindings that old MPI libraries bring along are not libdml's business.
LANGUAGES = [
    ("c", ["-xc", "-std=c11", "-Wstrict-prototypes"]),
    ("c++", ["-xc++", "-std=c++17", "-Wold-style-cast", "-DOMPI_SKIP_MPICXX",
             "-DMPICH_SKIP_MPICXX"]),
]


def main():
    split = sys.argv.index("--")
    top, compilers = sys.argv[1], sys.argv[2:split]
    # A system folder's warnings are not ours.
    mpi = [flag.replace("-I", "-isystem", 1) for flag in sys.argv[split + 1:]
           if flag.startswith(("-I", "-D"))]
    report = tree.Report()
    for path in tree.files(top, ".h", folders=("include/dml",)):
        for (language, flags), compiler in zip(LANGUAGES, compilers):
            what = f"{path} as {language}"
            report.looked_at(what)
            name = path[len("include/"):]
            command = [*compiler.split(), *flags, *WARNINGS, f"-I{top}/include", *mpi,
                       "-fsyntax-only", "-"]
            # Twice: a header without its guard would be noticed.
            text = f"#include \"{name}\"\n#include \"{name}\"\ntypedef int some;\n"
            out = subprocess.run(command, input=text, capture_output=True, text=True)
            if out.returncode != 0:
                report.fault(what, 1, "does not compile alone\n" + out.stderr)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
