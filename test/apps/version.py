#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""--version of every program: its own, libdml's, MPI's, and whether there is CUDA; and
that --help tells of it.

Usage: version.py LAUNCHER VERSION GPU PROGRAM...
GPU: is this a build with CUDA? true or false.
"""

import os
import re
import subprocess
import sys

from jobs import LIMIT_S, Wrong, require, without_banners

NOT_OF_APP = ("dml-top", "dml-tune", "dml-records")  # one process, or a main of their own
NO_MPI = {"OMPI_MCA_pml": "none"}  # with it Open MPI does not start


def run(*words, env=None, stdout=subprocess.PIPE):
    return subprocess.run([str(word) for word in words], stdout=stdout,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          timeout=LIMIT_S, check=False, env={**os.environ, **(env or {})})


def good(*words, env=None):
    done = run(*words, env=env)
    require(done.returncode == 0 and not without_banners(done.stderr),
            f"{words}: status {done.returncode}: {done.stderr}")
    return done.stdout


class Program:
    def __init__(self, launcher, version, gpu, program):
        self.launcher, self.program = launcher, program
        self.name = os.path.basename(program)
        cuda = "with" if gpu == "true" else "without"
        self.wanted = f"{re.escape(f'{self.name} {version}')}\n"
        if self.name != "dml-top":
            self.wanted += (f"libdml {re.escape(version)}, (Open MPI v|MPICH Version )"
                            rf"[0-9.]+[a-z0-9]*, {cuda} CUDA\n")

    def said(self, text):
        require(re.fullmatch(self.wanted, text), f"{self.name} --version: {text!r}")

    def alone(self):
        self.said(good(self.program, "--version",
                       env=NO_MPI if self.name != "dml-tune" else None))
        help_text = good(self.program, "--help")
        require("--version" in help_text, f"not in the help: {help_text}")

    def by_ranks(self):
        """Once, whatever their number; and only where all ranks were asked."""
        if self.name in ("dml-top", "dml-records"):
            return
        for nranks in 2, 3:
            self.said(good(self.launcher, "-n", nranks, self.program, "--version"))
        if self.name in NOT_OF_APP:
            return
        done = run(self.launcher, "-n", 1, self.program, "--help", ":", "-n", 1,
                   self.program, "--version")
        require(done.returncode != 0 and "rank 1" in done.stderr and
                "--version, but rank 0 without" in done.stderr, f"{self.name}: two wishes: {done}")

    def to_a_full_disk(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            for word in "--version", "--help":
                done = run(self.program, word, stdout=full)
                require(done.returncode == 1 and "standard output" in done.stderr,
                        f"{self.name} {word} to a full disk: {done}")


def main():
    launcher, version, gpu, *programs = sys.argv[1:]
    failed = 0
    for path in programs:
        program = Program(launcher, version, gpu, os.path.realpath(path))
        try:
            program.alone()
            program.by_ranks()
            program.to_a_full_disk()
            print(f"ok: {program.name}", flush=True)
        except Wrong as wrong:
            failed += 1
            print(f"FAILED: {wrong}", flush=True)
    print(f"{len(programs) - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
