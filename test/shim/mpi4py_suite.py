#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""mpi4py's own tests, without and with libdml-mpi.so: the same ones pass.

Needs python3-mpi4py of the same MPI library, and the folder of its source package in
MPI4PY_SOURCE (the installed package has no tests); skipped where they are missing. The
tests of process spawning are left out: they take minutes on two cores, with Open MPI's
own collectives too.

Usage: mpi4py_suite.py MPIEXEC NRANKS LIBDML-MPI.SO
"""

import os
import re
import subprocess
import sys

SKIP = 77
PYTHON = "/usr/bin/python3"  # the one that Debian's package is for


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIP)


def run(mpiexec, nranks, source, *preload):
    """(tests run, lines that say what failed, counts on libdml)."""
    command = [mpiexec, "-n", nranks, "env", *preload, PYTHON, "test/runtests.py",
               "--no-builddir", "-e", "spawn", "-e", "dynproc"]
    done = subprocess.run(command, cwd=source, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    tests = re.findall(r"^Ran (\d+) tests", done.stdout, re.M)
    bad = re.findall(r"^(?:FAIL|ERROR): .*$", done.stdout, re.M)
    if done.returncode != 0 and not bad:
        bad = [f"exit status {done.returncode}:", *done.stdout.splitlines()[-20:]]
    ours = re.findall(r"^dml-mpi: MPI_\w+ +(\d+) +\d+$", done.stdout, re.M)
    return int(tests[0]) if tests else 0, bad, sum(map(int, ours))


def main():
    mpiexec, nranks = sys.argv[1:3]
    library = os.path.abspath(sys.argv[3])
    source = os.environ.get("MPI4PY_SOURCE", "")
    if not os.path.isfile(os.path.join(source, "test/runtests.py")):
        skip("MPI4PY_SOURCE names no folder with mpi4py's tests")
    find = subprocess.run([PYTHON, "-c", "import mpi4py.MPI as m; print(m.__file__)"],
                          capture_output=True, text=True, check=False)
    if find.returncode != 0:
        skip(f"{PYTHON} has no mpi4py")
    linked = subprocess.run(["ldd", find.stdout.strip()], capture_output=True, text=True,
                            check=True).stdout
    ours = subprocess.run(["ldd", library], capture_output=True, text=True,
                          check=True).stdout
    mpi = re.compile(r"^\s*(libmpi(?:ch)?\.so\S*)", re.M)
    if set(mpi.findall(linked)) != set(mpi.findall(ours)):
        skip("mpi4py is linked with another MPI library")
    tests, before, _ = run(mpiexec, nranks, source)
    again, after, on_libdml = run(mpiexec, nranks, source, "LD_PRELOAD=" + library,
                                  "DML_MPI_STATS=1")
    print(f"{tests} tests on {nranks} ranks; failures without libdml-mpi.so: "
          f"{len(before)}, with: {len(after)}; {on_libdml} calls on libdml")
    faults = [line for line in after if line not in before]
    if tests == 0 or again != tests or (int(nranks) > 1 and on_libdml == 0):
        faults.append(f"{tests} and {again} tests, {on_libdml} calls on libdml")
    print("\n".join(faults))
    print(f"{tests - len(faults)} passed, {len(faults)} failed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
