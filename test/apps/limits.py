#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Jobs whose ranks may open few files, or whose /dev/shm is tiny: each works, or ends
with lines of its own that say what is missing, and a status that is not 0; what was there
before stays. Below some number of files the MPI library itself does not start, in its own
words. No job hangs.

Usage: limits.py LAUNCHER NRANKS STEP PROGRAM...
STEP: ranks may open 8, 8 + STEP, ... up to 64 files.
"""

import os
import shutil
import subprocess
import sys
import tempfile

from broken_disk import Case, LIMIT_S, OUTPUTS, lines_of
from jobs import Wrong, require
from no_memory import RUNS

CRASHES = ("Segmentation fault", "Bus error", "Aborted", "signal 6", "signal 7",
           "signal 11")
FILES = range(8, 65)
# Without a launcher: below three the program cannot be loaded.
ALONE = {"dml-records": range(3, 12)}
SHM = "mount -t tmpfs -o size=%s none /dev/shm"
OWN_MOUNTS = ["unshare", "--mount", "sh", "-c"]


class Limits(Case):
    def launch(self, folder, before, ranks, words):
        """before: what starts the launcher; ranks: what starts each rank."""
        launcher, nranks = sys.argv[1], sys.argv[2]
        try:
            start = [] if self.name in ALONE else [launcher, "-n", nranks]
            done = subprocess.run([*before, *start, *ranks, *self.command], cwd=folder,
                                  capture_output=True, timeout=LIMIT_S, check=False,
                                  stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise Wrong(f"hangs: {before} {ranks} {self.command}") from None
        lines = lines_of(done)
        what = f"{before} {ranks} {self.command}: status {done.returncode}: {lines}"
        require(not any(crash in line for line in lines for crash in CRASHES), what)
        if done.returncode == 0:
            self.put(folder)
            return True
        ours = [line for line in lines if line.startswith((self.name, "dml:"))]
        require(all(any(word in line for word in words) for line in ours), what)
        require(ours or lines, "no word of it: " + what)
        for name in self.outputs:
            with open(os.path.join(folder, name), "rb") as file:
                require(file.read() == b"what was there before\n", f"{name} changed: {what}")
        require(not [name for name in os.listdir(folder) if ".partial" in name], what)
        return False

    def few_files(self, folder):
        worked = False
        for most in ALONE.get(self.name) or FILES[::int(sys.argv[3])]:
            worked = self.launch(
                folder, [], ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(most)],
                ["Too many open files", "descriptor", "another rank"])
        require(worked, f"{FILES[-1]} files are not enough")

    def small_shm(self, folder):
        for size in "4k", "64k", "1m":
            mount = SHM % size
            if subprocess.run([*OWN_MOUNTS, mount], capture_output=True,
                              check=False).returncode != 0:
                return "skipped: a file system cannot be mounted here"
            self.launch(folder, [*OWN_MOUNTS, mount + ' && exec "$@"', "sh"], [],
                        ["memory", "No space left", "/dev/shm"])
        return None


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for program in map(os.path.realpath, sys.argv[4:]):
        name = os.path.basename(program)
        make, runs = RUNS[name]
        top = tempfile.mkdtemp(prefix="dml-limits-")
        try:
            make(top)
            case = Limits(top, program, runs[0], OUTPUTS[name][0])
            case.put(top)
            for what in "few_files", "small_shm":
                try:
                    text = getattr(case, what)(top) or "ok"
                except Wrong as wrong:
                    text = f"FAILED: {wrong}"
                counts[{"o": "passed", "s": "skipped", "F": "failed"}[text[0]]] += 1
                print(f"{name} {what}: {text}", flush=True)
                case.put(top)
        finally:
            shutil.rmtree(top)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return counts["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
