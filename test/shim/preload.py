#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""libdml-mpi.so preloaded into an unchanged MPI program, and what it counted.

Usage: preload.py MPIEXEC NRANKS TEST_SHIM LIBDML-MPI.SO DML-PERF|none
"""

import json
import os
import re
import subprocess
import sys
import tempfile

FUNCTIONS = ("Allreduce", "Iallreduce", "Reduce_scatter", "Reduce_scatter_block",
             "Allgather", "Allgatherv", "Bcast", "Reduce", "Barrier")
RANK_1 = 'if [ "${OMPI_COMM_WORLD_RANK-$PMI_RANK}" = 1 ]; then export %s; fi; exec "$@"'


class Wrong(Exception):
    pass


def require(condition, text):
    if not condition:
        raise Wrong(text)


class Program:
    def __init__(self, mpiexec, nranks, program, library):
        self.start = [mpiexec, "-n", nranks]
        self.nranks, self.program = int(nranks), os.path.abspath(program)
        self.library = os.path.abspath(library)

    def run(self, *arguments, preload=True, program=None, rank_1=None, **variables):
        """What a job printed, and the functions' two counts (None: not preloaded)."""
        command = [*self.start, "env"]
        if preload:
            command += ["LD_PRELOAD=" + self.library, "DML_MPI_STATS=1"]
        command += [f"{name}={value}" for name, value in variables.items()]
        if rank_1:
            command += ["sh", "-c", RANK_1 % rank_1, "sh"]
        command += [program or self.program, *arguments]
        done = subprocess.run(command, text=True, stdin=subprocess.DEVNULL, timeout=150,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        require(done.returncode == 0,
                f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}")
        counts = {name: (int(ours), int(passed)) for name, ours, passed in
                  re.findall(r"dml-mpi: MPI_(\w+) +(\d+) +(\d+)$", done.stdout, re.M)}
        require(("dml-mpi: function" in done.stdout) == preload, "counts where none should be, or none:\n"
                + done.stdout)
        return done.stdout, counts


def names_of(library):
    """It replaces MPI's functions only, and calls MPI by the profiling names."""
    out = subprocess.run(["nm", "-D", "--format=posix", library], text=True, check=True,
                         stdout=subprocess.PIPE).stdout
    for line in out.splitlines():
        name, kind = line.split()[:2]
        if kind.isupper() and kind not in "UW":
            require(re.fullmatch(r"MPI_[A-Z]\w*", name), f"{name} is exported")
        elif kind == "U":
            require(not re.match(r"MPI_[A-Z]", name), f"{name} is called, not P{name}")


# A communicator freed while MPI's own sum is under way on it: Open MPI 4.1's libnbc may
# send on the communicator that is gone (SIGSEGV in its isend), so libdml's alone is tried.
NOT_MPIS = "freed"


def without(p):
    p.run(preload=False, SHIM_TEST_SKIP=NOT_MPIS)


def everything(p):
    _, counts = p.run(DML_MEASURE="0")
    for name in FUNCTIONS:
        require(name in counts, f"MPI_{name} was not intercepted")
        ours = counts[name][0]
        require((ours > 0) == (p.nranks > 1), f"MPI_{name}: {ours} calls on libdml")


def measured(p):
    p.run("reduce_scatter")


def skipped(p):
    out, counts = p.run("many", DML_MEASURE="0", DML_MPI_SKIP="bcast,nonsense,barrier")
    require('no function "nonsense"' in out, "an unknown name is not reported")
    for name in ("Bcast", "Barrier"):
        require(counts[name][0] == 0, f"MPI_{name} ran on libdml")
    require((counts["Allreduce"][0] > 0) == (p.nranks > 1), "MPI_Allreduce did not run")
    _, counts = p.run("many", DML_MPI_SKIP="all")
    require(all(ours == 0 for ours, _ in counts.values()), "all were skipped, but some")


def one_rank_decides(p):
    """What one rank cannot or may not do, no rank does."""
    if p.nranks == 1:
        return
    even = (p.nranks + 1) // 2  # ranks that have a communicator without rank 1
    elsewhere = 10 * even if even > 1 else 0
    _, counts = p.run("many", rank_1="DML_MPI_SKIP=bcast", DML_MEASURE="0")
    require(counts["Bcast"][0] == elsewhere and counts["Allreduce"][0] > 0, f"{counts}")
    out, counts = p.run("many", rank_1="DML_ISA=nonsense", DML_MEASURE="0")
    require(counts["Bcast"][0] == elsewhere, f"{counts}")
    require("libdml cannot start" in out, f"nobody says why:\n{out}")


def message_under_way(p):
    """A sender that waits in libdml keeps its message going, single copy or not."""
    p.run("progress", OMPI_MCA_btl_vader_single_copy_mechanism="none",
          DML_BARRIER="dissemination", DML_MEASURE="0")


# The cases of MPI_Iallreduce.
ASYNC = ("outstanding", "freed", "mixed", "elsewhere")


def iallreduce(p, on_libdml, **variables):
    """Its cases, with MPI initialised for one thread unless said otherwise."""
    for case in ASYNC:
        if case == NOT_MPIS and not on_libdml:
            continue
        _, counts = p.run(case, DML_MEASURE="0", **{"SHIM_TEST_LEVEL": "single", **variables})
        require((counts["Iallreduce"][0] > 0) == (on_libdml and p.nranks > 1),
                f"{case}: {counts['Iallreduce']} with {variables}")


def one_thread(p):
    """Within a node MPI need not allow threads, whoever does the work."""
    iallreduce(p, True)
    iallreduce(p, True, DML_ALLREDUCE="ring")
    iallreduce(p, True, DML_ALLREDUCE="mpi")
    with tempfile.NamedTemporaryFile("w", suffix=".tuning") as table:
        table.write("allreduce * * 0-1K mpi\nallreduce * * 1K-16K ring\n"
                    "allreduce * * * staged\n")
        table.flush()
        iallreduce(p, True, DML_TUNING=table.name)


def through_mpi(p):
    """Where the ranks share no memory MPI must allow threads; it can be asked to."""
    iallreduce(p, p.nranks == 1, DML_SHM="0")
    if p.nranks > 1:
        iallreduce(p, True, DML_SHM="0", DML_MPI_MULTIPLE="1")
        iallreduce(p, True, DML_NODES="2", SHIM_TEST_LEVEL="multiple")


def one_rank_skips(p):
    if p.nranks > 1:
        _, counts = p.run("nonblocking", rank_1="DML_MPI_SKIP=iallreduce",
                          DML_MEASURE="0")
        # A communicator without rank 1: its first blocking call comes before the last sum.
        even = (p.nranks + 1) // 2
        require(counts["Iallreduce"][0] == (even if even > 1 else 0), f"{counts}")


def beside_libdml(p, perf):
    """A program that uses libdml itself: MPI's side of dml-perf runs on libdml too."""
    if perf == "none" or p.nranks == 1:
        return
    with tempfile.TemporaryDirectory() as folder:
        for collective, name in (("allreduce", "Allreduce"), ("allgather", "Allgather"),
                                 ("reduce_scatter", "Reduce_scatter_block"),
                                 ("bcast", "Bcast"), ("reduce", "Reduce")):
            path = os.path.join(folder, collective)
            _, counts = p.run(collective, "--min", "1K", "--max", "64K", "--factor", "8",
                              "--iters", "60", "--json", path, program=perf)
            lines = [json.loads(line) for line in open(path)]
            require(lines and all(line["wrong"] == 0 and line["peer"] == "mpi"
                                  for line in lines), f"{collective}: {lines}")
            ours = counts[name][0]
            require(ours > 0, f"MPI_{name}: no call on libdml")


def main():
    *arguments, perf = sys.argv[1:]
    p = Program(*arguments)
    passed = failed = 0
    steps = [(step.__name__, lambda step=step: step(p)) for step in
             (without, everything, measured, skipped, one_rank_decides,
              message_under_way, one_thread, through_mpi, one_rank_skips)]
    steps += [("names", lambda: names_of(p.library)),
              ("beside_libdml", lambda: beside_libdml(p, perf))]
    for name, step in steps:
        try:
            step()
            passed += 1
        except (Wrong, subprocess.TimeoutExpired) as fault:
            failed += 1
            print(f"FAIL {name}: {fault}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
