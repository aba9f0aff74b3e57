#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-prf goes on from its snapshots: the model of a job that ran through, byte for byte.

Random moments come from a seed that is printed; DML_TEST_SEED repeats it. DML_TEST_KILLS=200
kills more than 4 jobs before the one that may end.
Usage: prf_checkpoint.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
Sanitized builds run the cases marked with a "*".
"""

import os
import random
import signal
import sys
import time

from going_on import KILLS, REQUEUE, SEED, snapshots
from jobs import (Job, LIMIT_S, TRAIN_S, fails, get, main, mpirun, require,
                  without_banners)
from prf import SHARDED, write_numbers, write_table

TREES = 150 * KILLS  # of a job that is to be interrupted
EVERY_10 = ["--checkpoint", "run", "--checkpoint-every", "10"]


class Cases:
    def __init__(self, top, nranks):
        self.nranks = nranks
        self.table, self.other = (os.path.join(top, name) for name in ("t.csv", "u.csv"))
        self.numbers = os.path.join(top, "n.tsv")
        write_table(self.table, 1500, noise=0.2)
        write_table(self.other, 1500, seed=2, noise=0.2)
        write_numbers(self.numbers, 1500)

    def words(self, *options, data=None, trees=25):
        return ["train", "--data", data or self.table, "--trees", str(trees), "--threads",
                "1", "--quiet", *options]

    def model(self, folder, *options, name="whole.dml", nranks=None, **more):
        mpirun(folder, nranks or self.nranks,
               *self.words("--model", name, *options, **more))
        return get(os.path.join(folder, name))

    def start(self, folder, *options, trees=TREES):
        return Job([Job.launcher, "-n", self.nranks, Job.program,
                    *self.words("--checkpoint", "run", "--resume", "auto", "--model",
                                "again.dml", *options, trees=trees)], folder)

    def goes_on(self, folder, options, others, **more):
        """With more trees, and other ranks, threads and ways to share them."""
        whole = self.model(folder, *options, **more)
        part = self.model(folder, *EVERY_10, *options, name="part.dml",
                          **dict(more, trees=22))
        require(part != whole, "no tree is left to be grown")
        require(snapshots(folder), "no snapshot is there")
        for nranks, ways in others:
            again = self.model(folder, "--resume", "run", *options, *ways, name="a.dml",
                               nranks=nranks, **more)
            require(again == whole, f"another model: {options}, then {nranks} {ways}")

    def classes(self, folder):
        self.goes_on(folder, ["--test-every", "5"], [
            (self.nranks, ["--threads", "2"]), (self.nranks + 1, [])])

    def together(self, folder):
        self.goes_on(folder, ["--test-every", "5"],
                     [(2, ["--partition", "rows"]), (3, SHARDED)])

    def numbers_sharded(self, folder):
        """Written by ranks that have rows of their own."""
        self.goes_on(folder, ["--weights", "2", "--test-every", "7", *SHARDED],
                     [(self.nranks, []), (self.nranks + 1, []),
                      (1, ["--rows", "shared"])], data=self.numbers)

    def permutation(self, folder):
        self.goes_on(folder, ["--importance", "permutation"],
                     [(self.nranks, ["--table-ranks", "1"])])

    def wait_for(self, job, condition):
        deadline = time.monotonic() + TRAIN_S
        while not condition() and job.process.poll() is None:
            require(time.monotonic() < deadline, job.told("waited in vain"))
            time.sleep(0.0005)

    def killed(self, folder):
        """Any rank, at any moment, every second time while a snapshot is written."""
        rng = random.Random(SEED)
        whole = self.model(folder, trees=TREES)
        killed, run = 0, os.path.join(folder, "run")
        for kill in range(KILLS):
            before = snapshots(folder)
            job = self.start(folder, "--checkpoint-every", "5")
            self.wait_for(job, lambda: snapshots(folder) != before)
            time.sleep(rng.random() * 0.1)
            if kill % 2:
                self.wait_for(job, lambda: any(
                    name.startswith("unnamed-") for name in os.listdir(run)))
            ranks = job.ranks()
            if ranks:
                os.kill(rng.choice(ranks), signal.SIGKILL)
            killed += job.end(LIMIT_S) != 0
        require(2 * killed >= KILLS, f"{killed} of {KILLS} jobs were killed")
        job = self.start(folder, "--checkpoint-every", "5")
        require(job.end(TRAIN_S) == 0, job.told("does not go on"))
        require(get(os.path.join(folder, "again.dml")) == whole,
                f"another model after kills, seed {SEED}")
        left = [name for name in os.listdir(run) if name.startswith("unnamed-")]
        require(not left, f"left behind: {left}")

    def signalled(self, folder):
        """One rank gets the signal; all write a snapshot and end with one status."""
        trees, every = 8 * TREES, ["--checkpoint-every", "0.2s"]
        job = self.start(folder, *every, trees=trees)
        self.wait_for(job, lambda: snapshots(folder))
        ranks = job.ranks()
        require(len(ranks) == self.nranks, job.told("ended before the signal"))
        os.kill(ranks[-1], signal.SIGUSR1)
        status = job.end(LIMIT_S)
        require(status == REQUEUE, job.told(f"exit status {status}, 75 expected"))
        require(not without_banners(job.text(job.err)), job.told("lines on stderr"))
        require(not os.path.exists(os.path.join(folder, "again.dml")), "a model is there")
        whole = self.model(folder, trees=trees)
        job = self.start(folder, *every, trees=trees)
        require(job.end(TRAIN_S) == 0, job.told("does not go on"))
        require(get(os.path.join(folder, "again.dml")) == whole, "another model")

    def wrong_words(self, folder):
        self.model(folder, *EVERY_10, name="part.dml")
        resume = ["--resume", "run"]
        for words, more, told in [
                (EVERY_10, {}, ["run holds snapshots", "--resume auto"]),
                ([*resume, "--seed", "2"], {}, ["with --seed 1", "--seed 2"]),
                ([*resume, "--mtry", "2"], {}, ["--mtry 2"]),
                ([*resume, "--criterion", "entropy"], {}, ["--criterion gini"]),
                ([*resume, "--test-every", "3"], {}, ["--test-every"]),
                (resume, {"trees": 5}, ["--trees 5"]),
                (resume, {"data": self.other}, ["--resume", "other training data"]),
                (resume, {"data": self.numbers}, ["--resume", "other training data"]),
                (["--resume", "auto"], {}, ["--checkpoint"])]:
            fails(folder, [Job.launcher, "-n", str(self.nranks), Job.program,
                           *self.words(*words, **more)], told)


def make_cases(top, nranks):
    print(f"seed {SEED}", flush=True)
    cases = Cases(top, nranks)
    return [("* classes", cases.classes), ("classes, grown together", cases.together),
            ("numbers, sharded", cases.numbers_sharded),
            ("permutation", cases.permutation), ("killed", cases.killed),
            ("SIGUSR1", cases.signalled), ("wrong words", cases.wrong_words)]


if __name__ == "__main__":
    sys.exit(main(make_cases))
