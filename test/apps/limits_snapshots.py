#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Jobs that meet a limit between two snapshots: no descriptors, no longer files, no more
memory. The snapshot after that fails with a line that says why, or the job ends with one;
the earlier ones stay as they are, and the job goes on from them, or from a later one, to
the bits of a job that ran through.

Usage: limits_snapshots.py LAUNCHER NRANKS SHIM PROGRAM...
"""

import contextlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time

from crf_checkpoint import long_sentences
from going_on import BITS, REQUEUE, snapshots
from jobs import (Job, TRAIN_S, Wrong, get, make_idx, mpirun, put, require,
                  without_banners)
from prf import write_table

CRASHES = ("Segmentation fault", "Bus error", "Aborted", "signal 6", "signal 7",
           "signal 11", "signal 25")


def limit(kind, most):
    def begin_or_end(pid, begin):
        hard = resource.prlimit(pid, kind)[1]
        resource.prlimit(pid, kind, (most if begin else hard, hard))
    return begin_or_end


# The rank may open no more files, write no byte behind the hundredth of any, or gets no
# memory for any call of its own: of the shim, because a limit on its addresses is met
# only by who grows. And words of a line about it, one of which must be there.
LIMITS = {
    "no_descriptors": (limit(resource.RLIMIT_NOFILE, 3), ["Too many open files"]),
    "no_longer_files": (limit(resource.RLIMIT_FSIZE, 100),
                        ["File too large", "no room in /tmp"]),
    "no_memory": (lambda pid, _: os.kill(pid, signal.SIGUSR2), ["memory"]),
}


def corpus(folder):
    put(os.path.join(folder, "c.txt"), long_sentences(300, random.Random(5)))


# Program: what makes its data, and the words of a job of some seconds.
RUNS = {
    "dml-prf": (lambda folder: write_table(os.path.join(folder, "t.csv"), 1500, noise=0.2),
                "--data t.csv --trees 1500 --checkpoint-every 25"),
    "dml-crf": (corpus, "--train c.txt --trainer adam --batch 16 --epochs 30 "
                        "--checkpoint-every 5"),
    "dml-cnn": (lambda folder: make_idx(os.path.join(folder, "data")),
                "--data data --batch 12 --epochs 150 --checkpoint-every 10"),
}


def files_of(folder, names):
    """{path: bytes} of snapshots."""
    return {os.path.join(name, file): get(os.path.join(folder, "run", name, file))
            for name in names for file in os.listdir(os.path.join(folder, "run", name))}


class Cases:
    def __init__(self, folder, nranks, shim, words):
        self.folder, self.nranks = folder, nranks
        # A job must have much before it when its first snapshot is there.
        self.env = {**BITS, "LD_PRELOAD": shim, "FAULT_SIGNAL": "1", "FAULT_SYNC": "-1"}
        self.words = ["train", *words.split(), "--threads", "1"]
        self.kept = ["--checkpoint", "run", "--checkpoint-keep", "1000", "--resume", "auto"]
        self.whole = self.model()

    def model(self, *options):
        mpirun(self.folder, self.nranks, *self.words, "--quiet", "--model", "m", *options,
               env=BITS)
        return get(os.path.join(self.folder, "m"))

    def until(self, job, holds):
        deadline = time.monotonic() + TRAIN_S
        while not holds() and job.process.poll() is None:
            require(time.monotonic() < deadline, job.told("waited in vain"))
            time.sleep(0.0005)

    def each(self, job, act):
        for pid in job.ranks():
            with contextlib.suppress(ProcessLookupError): # it ends
                act(pid)

    def signal(self, job, number):
        self.each(job, lambda pid: os.kill(pid, number))

    def limit(self, what):
        begin_or_end, words = LIMITS[what]
        job = Job([Job.launcher, "-n", self.nranks, Job.program, *self.words, *self.kept,
                   "--model", "m"], self.folder, self.env)
        try:
            self.until(job, lambda: len(snapshots(self.folder)) > 1)
            self.signal(job, signal.SIGSTOP)
            # The newest may just get its name, which an error takes back.
            ranks, there = job.ranks(), snapshots(self.folder)[:-1]
            require(len(ranks) == self.nranks and there, job.told("too short a job"))
            before = files_of(self.folder, there)
            self.each(job, lambda pid: begin_or_end(pid, True))
            self.signal(job, signal.SIGCONT)
            self.until(job, lambda: any(word in job.text(job.err) for word in words))
            # It still runs: the limit is lifted, and the job told to end.
            self.each(job, lambda pid: begin_or_end(pid, False))
            self.signal(job, signal.SIGUSR1)
            status = job.end(TRAIN_S)
        finally:
            self.signal(job, signal.SIGCONT)
            job.kill()
        told = without_banners(job.text(job.err))
        require(not any(crash in line for line in told for crash in CRASHES),
                job.told(f"status {status}"))
        require(any(word in "".join(told) for word in words),
                job.told(f"status {status}, not told"))
        require(files_of(self.folder, there) == before, "an earlier snapshot has changed")
        self.goes_on()

    def goes_on(self):
        shown = mpirun(self.folder, self.nranks, *self.words, *self.kept, "--model", "m",
                       env=BITS)
        require("goes on after step" in shown, f"begins anew: {shown}")
        require(get(os.path.join(self.folder, "m")) == self.whole, "another model")
        shutil.rmtree(os.path.join(self.folder, "run"))


def main():
    counts = {"passed": 0, "failed": 0}
    Job.launcher, nranks = sys.argv[1], int(sys.argv[2])
    shim, *programs = map(os.path.realpath, sys.argv[3:])
    for program in programs:
        Job.program, name = program, os.path.basename(program)
        make, words = RUNS[name]
        folder = tempfile.mkdtemp(prefix="dml-limits-")
        try:
            make(folder)
            cases = Cases(folder, nranks, shim, words)
            for what in LIMITS:
                begin_s = time.monotonic()
                try:
                    cases.limit(what)
                    result, text = "passed", f"ok ({time.monotonic() - begin_s:.1f} s)"
                except Wrong as wrong:
                    result, text = "failed", f"FAILED: {wrong}"
                    shutil.rmtree(os.path.join(folder, "run"), ignore_errors=True)
                counts[result] += 1
                print(f"{name} {what}: {text}", flush=True)
        finally:
            shutil.rmtree(folder)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return counts["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
