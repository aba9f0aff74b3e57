#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-crf's files when something goes wrong: models cut short and changed, runs that are
killed; and the curve, drawn by scripts/plot.

Usage: crf_files.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
"""

import os
import random
import signal
import subprocess
import sys
import time

from crf import make_data
from jobs import (Job, LIMIT_S, Skip, TRAIN_S, fails, get, main, mpirun, put, require,
                  without_banners)

PLOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/plot")
HEADER = 344  # bytes, as in apps/crf/model_file.h


class Cases:
    def __init__(self, top, nranks):
        self.nranks = nranks
        self.data = make_data(os.path.join(top, "data"))
        self.test = os.path.join(self.data, "test.txt")

    def train(self, folder, *options):
        mpirun(folder, self.nranks, "train", "--data", self.data, "--threads", 1, "--quiet",
               "--model", "model.crf", *options)

    def broken_models(self, folder):
        """Every command names the file, and says what to do."""
        self.train(folder, "--max-iterations", 5)
        whole = get(os.path.join(folder, "model.crf"))
        rng = random.Random(7)
        bad = {"cut.crf": [whole[:n] for n in (0, 7, HEADER - 1, HEADER, len(whole) // 2,
                                               len(whole) - 1)], "flipped.crf": []}
        for at in [8, 20, HEADER + 50] + [rng.randrange(len(whole)) for _ in range(2)]:
            bad["flipped.crf"].append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        for name, images in bad.items():
            for number, image in enumerate(images):
                put(os.path.join(folder, name), image)
                command = ("tag", "eval", "dump")[number % 3]
                words = [] if command == "dump" else ["--data", self.test]
                fails(folder, [Job.program, command, "--model", name, *words],
                      [name, "not a usable model file", "write it anew"])
        fails(folder, [Job.launcher, "-n", self.nranks, Job.program, "train", "--data",
                       self.data, "--quiet", "--start", "cut.crf"],
              ["cut.crf", "not a usable model file"])
        fails(folder, [Job.program, "tag", "--model", ".", "--data", self.test],
              ["Is a directory"])

    def killed(self, folder):
        """What was there before stays whole; nothing is left behind."""
        self.train(folder, "--max-iterations", 5)
        before = get(os.path.join(folder, "model.crf"))
        for which in 0, -1:
            job = Job([Job.launcher, "-n", self.nranks, Job.program, "train", "--data",
                       self.data, "--threads", 1, "--trainer", "sgd", "--epochs", 1000000,
                       "--model", "model.crf", "--report", "r.json", "--curve", "c.jsonl"],
                      folder)
            end = time.monotonic() + TRAIN_S / 2
            while "  3: loss" not in job.text(job.out):
                require(time.monotonic() < end, job.told("no third epoch"))
                time.sleep(0.02)
            ranks = job.ranks()
            require(len(ranks) == self.nranks, job.told(f"{len(ranks)} ranks found"))
            os.kill(ranks[which], signal.SIGKILL)
            require(job.end(LIMIT_S) != 0, job.told("exit status 0 after a kill"))
            lines = [line for line in without_banners(job.text(job.err))
                     if line.startswith("dml-crf")]
            require(len(lines) <= 1, job.told(f"{len(lines)} lines of dml-crf"))
            require(os.listdir(folder) == ["model.crf"], f"left: {os.listdir(folder)}")
            require(get(os.path.join(folder, "model.crf")) == before, "another model")

    def curve_is_drawn(self, folder):
        self.train(folder, "--max-iterations", 12, "--curve", "curve.jsonl")
        done = subprocess.run([PLOT, "curve.jsonl", "-o", "c.png"], cwd=folder, text=True,
                              capture_output=True, timeout=TRAIN_S, check=False)
        if "matplotlib is missing" in done.stderr:
            raise Skip("matplotlib is not installed")
        require(done.returncode == 0 and not done.stderr, done.stderr)
        require(os.path.getsize(os.path.join(folder, "c.png")) > 5000, "a tiny picture")


def make_cases(top, nranks):
    cases = Cases(top, nranks)
    return [("broken models", cases.broken_models), ("killed", cases.killed),
            ("curve is drawn", cases.curve_is_drawn)]


if __name__ == "__main__":
    sys.exit(main(make_cases))
