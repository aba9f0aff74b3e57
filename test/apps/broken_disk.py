#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Outputs that cannot be written, for each application: a disk that is full, may only be
read, or fails in the middle of a write or at its end, a limit on the length of files, no descriptors left.
The job ends with one line and a status that is not 0, what was there before stays, and
nothing half written is left; and files that a killed run has left are removed by the next
one of the same user, but not those of a run that lives, or of another user. A trace is
no output of the program's: without it, it says so once and goes on.

Usage: broken_disk.py SHIM PROGRAM...
"""

import fcntl
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from jobs import Skip, Wrong, require, without_banners
from no_memory import RUNS

LIMIT_S = 60
OLD = b"what was there before\n"
# The files that each run writes; the others of its folder are inputs.
OUTPUTS = {"dml-prf": [["m.dml", "r.json"], ["p.csv"]], "dml-crf": [["m.crf", "r.json"], []],
           "dml-cnn": [["m.dml", "r.json"]], "dml-records": [["k.records"]],
           "dml-skew": [["counts.0"], ["sorted.0"]], "dml-tune": [["table"]]}
# What a run that works says, too.
PROGRESS = re.compile(r"\w+ +\d+ sizes, [\d.]+ s *")


def run(command, folder, env=None, limit=None):
    def child():
        if limit:
            resource.setrlimit(*limit)
    return subprocess.run(command, cwd=folder, env=dict(os.environ, **(env or {})),
                          capture_output=True, timeout=LIMIT_S, check=False,
                          stdin=subprocess.DEVNULL, preexec_fn=child)


def lines_of(done):
    return [line for line in without_banners(done.stderr.decode("utf-8", "replace"))
            if not PROGRESS.fullmatch(line)]


class Case:
    """One run of a program in a folder where its outputs exist already."""

    def __init__(self, top, program, words, outputs):
        self.top, self.outputs = top, outputs
        self.name = os.path.basename(program)
        self.command = [program, *words.split()]

    def put(self, folder):
        for name in self.outputs:
            with open(os.path.join(folder, name), "wb") as file:
                file.write(OLD)

    def fails(self, folder, done, words, fails=True):
        """One line with one of the words; outputs as before, and nothing new."""
        lines = lines_of(done)
        what = f"{' '.join(self.command)}\n  status {done.returncode}: {lines}"
        if not fails and done.returncode == 0:
            return
        require(done.returncode not in (0, -11, -6, 139, 134), what)
        require(any(line.startswith(self.name) for line in lines), "no line: " + what)
        require(len(lines) == 1, "not one line: " + what)
        require(any(word in "".join(lines) for word in words), "other words: " + what)
        for name in os.listdir(folder):
            require(".partial" not in name, f"{name} is left: " + what)
        for name in self.outputs:
            with open(os.path.join(folder, name), "rb") as file:
                require(file.read() == OLD, f"{name} was changed: " + what)

    def mounted(self, folder, spoil, words):
        """The outputs' folder is a file system of its own, which "spoil" makes useless."""
        if os.geteuid() != 0:
            raise Skip("a file system cannot be mounted here")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder],
                          capture_output=True, check=False).returncode != 0:
            raise Skip("a file system cannot be mounted here")
        try:
            for name in os.listdir(self.top):
                path = os.path.join(self.top, name)
                if not os.path.islink(path) and path != folder:
                    os.symlink(path, os.path.join(folder, name))
            self.put(folder)
            spoil()
            self.fails(folder, run(self.command, folder), words)
        finally:
            subprocess.run(["umount", folder], check=False)

    def full_disk(self, folder, _):
        def fill():
            with open(os.path.join(folder, "ballast"), "wb", buffering=0) as file:
                try:
                    while file.write(bytes(4096)):
                        pass
                except OSError:
                    pass
        self.mounted(folder, fill, ["No space left"])

    def read_only_disk(self, folder, _):
        self.mounted(folder, lambda: subprocess.run(
            ["mount", "-o", "remount,ro", folder], check=True), ["Read-only file system"])

    def no_trace(self, folder, shim):
        """With the outputs to a pipe, the trace is the only file that fails."""
        if self.name != "dml-tune":
            raise Skip("its outputs would fail, too")
        trace = os.path.join(folder, "trace.json")
        for number, left in (1, b""), (2, b"[\n"):
            done = run([self.command[0], "--collective", "barrier"], folder,
                       {"LD_PRELOAD": shim, "FAULT_WRITE": str(number), "DML_TRACE": trace})
            lines = lines_of(done)
            what = f"status {done.returncode}: {lines}"
            require(done.returncode == 0 and b"barrier" in done.stdout, what)
            require(len(lines) == 1 and "Input/output error" in lines[0] and
                    trace in lines[0] and "goes on without a trace" in lines[0], what)
            with open(trace, "rb") as file:
                require(file.read() == left, "another trace than was written")

    def no_longer_file(self, folder, shim):
        if self.name == "dml-records":
            done = run(self.command, folder, limit=(
                resource.RLIMIT_FSIZE, (30, resource.RLIM_INFINITY)))
        else:
            done = run(self.command, folder, {"LD_PRELOAD": shim, "FAULT_LENGTH": "30"})
        self.fails(folder, done, ["File too large", "/tmp"])

    def failing_disk(self, folder, shim):
        for fault in "FAULT_WRITE=1", "FAULT_SYNC=1":
            name, _, value = fault.partition("=")
            done = run(self.command, folder, {"LD_PRELOAD": shim, name: value})
            # Where nothing is brought to the disk, nothing fails there.
            self.fails(folder, done, ["Input/output error", "/tmp"], fault.startswith("FAULT_W"))
            self.put(folder)

    def no_descriptors(self, folder, _):
        for most in 8, 12, 16, 20, 24, 32:
            limit = (resource.RLIMIT_NOFILE, (most, most))
            done = run(self.command, folder, limit=limit)
            if done.returncode == 0:
                self.put(folder)
            lines = lines_of(done)
            ours = [line for line in lines if line.startswith(self.name)]
            # Below some number the MPI library itself does not start, in its own words.
            if ours:
                self.fails(folder, done, ["Too many open files", "descriptor"], False)
            require(done.returncode not in (-11, -6, 139), f"{most}: {lines}")

    def leftovers(self, folder, _):
        if not self.outputs:
            raise Skip("it writes no file")
        name = os.path.join(folder, self.outputs[0])
        dead, alive = name + ".partial-" + "0" * 16, name + ".partial-" + "1" * 16
        other, theirs = name + ".partial-x", name + ".partial-" + "2" * 16
        for path in dead, alive, other, theirs:
            with open(path, "wb") as file:
                file.write(b"half")
            os.utime(path, (time.time() - 10,) * 2)
        if os.geteuid() == 0:
            os.chown(theirs, 65534, 65534)
        with open(alive, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            done = run(self.command, folder)
            require(done.returncode == 0, done.stderr.decode())
        left = set(os.listdir(folder))
        require(os.path.basename(dead) not in left, "a dead run's file is left")
        for path in [alive, other] + ([theirs] if os.geteuid() == 0 else []):
            require(os.path.basename(path) in left, f"{path} was removed")
        with open(name, "rb") as file:
            require(file.read() != OLD, "nothing was written")
        mode = os.stat(name).st_mode & 0o777
        mask = os.umask(0)
        os.umask(mask)
        require(mode == 0o666 & ~mask, f"{name} has mode {mode:o}")


CASES = ("full_disk", "read_only_disk", "no_trace", "no_longer_file", "failing_disk",
         "no_descriptors", "leftovers")


def main():
    shim = os.path.realpath(sys.argv[1])
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for program in sys.argv[2:]:
        program = os.path.realpath(program)
        name = os.path.basename(program)
        make, runs = RUNS[name]
        top = tempfile.mkdtemp(prefix="dml-disk-")
        try:
            make(top)
            for number, words in enumerate(runs):
                case = Case(top, program, words, OUTPUTS[name][number])
                for what in CASES if case.outputs else ():
                    folder = os.path.join(top, "run")
                    os.mkdir(folder)
                    for entry in os.listdir(top):
                        if entry not in ("run", *case.outputs):
                            os.symlink(os.path.join(top, entry), os.path.join(folder, entry))
                    case.put(folder)
                    try:
                        getattr(case, what)(folder, shim)
                        result, text = "passed", "ok"
                    except Skip as skip:
                        result, text = "skipped", f"skipped: {skip}"
                    except (Wrong, subprocess.TimeoutExpired) as wrong:
                        result, text = "failed", f"FAILED: {wrong}"
                    counts[result] += 1
                    print(f"{name} {words.split()[0]}, {what}: {text}", flush=True)
                    shutil.rmtree(folder)
                # What it writes may be what the next one reads.
                done = run(case.command, top)
                require(done.returncode == 0, done.stderr.decode())
        finally:
            shutil.rmtree(top)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return counts["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
