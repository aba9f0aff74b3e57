#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prove that each check can fail: plant a fault in a copy of the tree, and look.

What a check finds in the tree as it is does not count. Usage: as headers.py.
"""

import os
import shutil
import subprocess
import sys
import tempfile

import tree

# (check, file, old text or None to append, new text, what the check must say).
SPDX = "/* SPDX-License-Identifier: BSD-3-Clause */\n"
FAULTS = [
    ("layers", "lib/core/clock.c", None, '#include "kernels/kernels.h"\n',
     "lib/core may not use lib/kernels"),
    ("layers", "lib/core/clock.c", None, '#include "dml/coll.h"\n',
     "lib/core may not use lib/collectives"),
    ("layers", "lib/kernels/kernels.c", None, '#include "core/ctx_internal.h"\n',
     "is for lib/core alone"),
    ("layers", "lib/kernels/kernels.c", None, "#include <mpi.h>\n",
     "<mpi.h> is included in lib/comm only"),
    ("layers", "lib/dml.c", None, "int f(void) { return MPI_Finalize(); }\n",
     "MPI is called in lib/comm only"),
    ("layers", "lib/new/a.c", None, SPDX, "has no row"),
    ("layers", "lib/shim/table.c", None, '#include "core/core.h"\n',
     "lib/shim may not use lib/core"),
    ("layers", "lib/comm/comm.c", None, '#include "shim/shim.h"\n',
     "lib/comm may not use lib/shim"),
    ("layers", "include/dml/ctx.h", None, "#include <mpi.h>\n",
     "included by dml/mpi.h only"),
    ("layers", "apps/cnn/a.c", None, '#include "core/core.h"\n', "neither public"),
    ("docs", "include/dml/vec.h", "/** x[i] *= a. @since 0.1 */", "",
     "dml_vec_scale has no doc comment"),
    ("docs", "include/dml/vec.h", "/** x[i] *= a. @since 0.1 */", "/** x[i] *= a. */",
     "dml_vec_scale: no @since"),
    ("docs", "include/dml/comm.h",
     "/** Number of ranks. Not collective. @since 0.1 */",
     "/** Number of ranks. @since 0.1 */", "does not state: collective or not"),
    ("docs", "lib/dml.c", None, 'const char *e(void) { return getenv("DML_NEW"); }\n',
     "DML_NEW is read but documented nowhere"),
    ("docs", "lib/collectives/flat.c", '.name = "flat"', '.name = "unheard"',
     "the algorithm unheard"),
    ("style", "lib/core/a.c", None, "int x;\n", "first line is not"),
    ("style", "lib/core/a.c", None, SPDX + "int x;\n", "no comment on what"),
    ("style", "lib/dml.c", None, "\tint x;\n", "tab"),
    ("style", "lib/dml.c", None, "int x; \n", "blanks at the end"),
    ("style", "lib/dml.c", None, "/* TODO: more */\n", "unfinished"),
    ("style", "lib/dml.c", None, "#if 0\n#endif\n", "unfinished"),
    ("style", "lib/dml.c", None, "/* " + 90 * "a" + " */\n", "at most 88"),
    ("style", "lib/dml.c", None, 400 * "\n", "at most 400"),
    ("style", "lib/dml.c", None, "int f(void)\n{\n" + 60 * "    ;\n" + "}\n",
     "function of 63 lines"),
    ("format", "lib/dml.c", None, "int  x;\n", "clang-format would change this"),
    ("scripts", "scripts/a", None, "#!/bin/sh\nif\n", "scripts/a:1: "),
    ("scripts", "scripts/a.py", None, "#!/usr/bin/env python3\nif\n", "scripts/a.py:2:"),
    ("scripts", "scripts/b", None, "#!/bin/sh\ntrue\n", "not executable"),
    ("headers", "include/dml/gpu.h", '#include "dml/ctx.h"', "", "does not compile"),
    ("headers", "include/dml/gpu.h", "#ifdef __cplusplus", "extern int new;\n#ifdef X",
     "gpu.h as c++:1:"),
]

# (C source of the library, what the check must say) for a header that declares dml_f.
LIBRARIES = [
    ("int dml_f(void) { return 0; } int dml__g(void) { return 0; }", "exported, but"),
    ("int dml_g;", "defined nowhere"),
    ("int dml_f(void) { return 0; } int stray(void) { return 0; }", "without dml_"),
    ("static int n; int dml_f(void) { return n++; }", "writable static data (.bss"),
    ("static int n = 1; int dml_f(void) { return n++; }", "writable static data (.data"),
]
GOOD_LIBRARY = ("static const char *const t[] = {\"a\"}; "
                "int dml_f(void) { return t[0][0]; }")


def run(check, top, *arguments):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), check + ".py")
    out = subprocess.run([sys.executable, script, top, *arguments],
                         capture_output=True, text=True)
    return out.returncode, out.stdout + out.stderr


def plant(top, path, old, new):
    """Change the file and return how to undo it."""
    full = os.path.join(top, path)
    before = tree.read(top, path) if os.path.exists(full) else None
    if old is not None and old not in before:
        raise SystemExit(f"planted.py: {path} no longer holds \"{old}\"")
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as file:
        file.write((before or "") + new if old is None else before.replace(old, new, 1))

    def undo():
        if before is None:
            os.remove(full)
            return
        with open(full, "w", encoding="utf-8") as file:
            file.write(before)
    return undo


def check_trees(top, compilers, report):
    before = {}
    for check in sorted({fault[0] for fault in FAULTS}):
        before[check] = run(check, top, *compilers[check == "headers"])
        if before[check][0] == tree.SKIP:
            print(f"{check}: left out, as it is skipped here")
    for number, (check, path, old, new, expected) in enumerate(FAULTS):
        if before[check][0] == tree.SKIP:
            continue
        what = f"fault {number} for {check}"
        report.looked_at(what)
        undo = plant(top, path, old, new)
        status, output = run(check, top, *compilers[check == "headers"])
        undo()
        known = before[check][1].splitlines()
        found = "\n".join(line for line in output.splitlines() if line not in known)
        if status != 1 or expected not in found:
            report.fault(what, 1, f"exit status {status}, and not \"{expected}\" but:\n"
                         + output)


def build(folder, cc, source):
    """Compile a library of one file; returns its two paths."""
    name = os.path.join(folder, "dml")
    with open(name + ".c", "w", encoding="utf-8") as file:
        file.write(source)
    for command in ([*cc.split(), "-fPIC", "-c", name + ".c", "-o", name + ".o"],
                    [*cc.split(), "-shared", name + ".o", "-o", name + ".so"],
                    ["ar", "crD", name + ".a", name + ".o"]):
        subprocess.run(command, check=True)
    return name + ".so", name + ".a"


def check_libraries(cc, report):
    for number, (source, expected) in enumerate([(GOOD_LIBRARY, None), *LIBRARIES]):
        what = f"library {number}"
        report.looked_at(what)
        with tempfile.TemporaryDirectory() as folder:
            plant(folder, "include/dml/f.h", None, "DML_API int dml_f(void);\n")
            status, output = run("symbols", folder, *build(folder, cc, source))
        wrong = status != 0 if expected is None else status != 1 or expected not in output
        if wrong:
            report.fault(what, 1, f"exit status {status}, wanted \"{expected}\":\n"
                         + output)


def main():
    source, cc = sys.argv[1:3]
    compilers = ([], sys.argv[2:])
    report = tree.Report()
    with tempfile.TemporaryDirectory() as folder:
        top = os.path.join(folder, "tree")
        os.mkdir(top)
        for name in (*tree.FOLDERS, "README.md", ".clang-format"):
            full = os.path.join(source, name)
            if os.path.isdir(full):
                shutil.copytree(full, os.path.join(top, name))
            elif os.path.exists(full):
                shutil.copy(full, top)
        check_trees(top, compilers, report)
    check_libraries(cc, report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
