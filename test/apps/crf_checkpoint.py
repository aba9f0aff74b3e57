#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-crf goes on from its snapshots, whatever it trains by: see going_on.py.

Usage: crf_checkpoint.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
Sanitized builds run the cases marked with a "*".
"""

import math
import os
import random
import shutil
import signal
import struct
import sys

from crf import make_data, report
from going_on import EPOCHS, REQUEUE, SEED, GoingOn, snapshots
from jobs import Job, LIMIT_S, fails, get, main, put, require

LABELS = 40   # their square is the cost of a token
# Epochs are of different lengths: these many iterations or epochs in place of one.
LENGTHS = {"lbfgs": 8, "perceptron": 6}
BATCHES = 2

# Name of a case -> options of dml-crf.
LBFGS = {
    "* lbfgs": [],
    "owlqn": ["--c1", 0.3],
    # Ends at iteration 34, by what the value was 20 iterations before.
    "lbfgs, period": ["--period", 20, "--delta", 0.01],
    "lbfgs, patience, hashing": ["--patience", 9, "--hash-bits", 8, "--memory", 3],
}
# They end by no option: they are killed, or get a signal.
KILLED = {
    "sgd": ["--trainer", "sgd", "--batch", 32],
    "adam, dense": ["--trainer", "adam", "--exchange", "dense"],
    "perceptron": ["--trainer", "perceptron", "--patience", 10000],
}
SIGNALLED = {
    "adamw": ["--trainer", "adamw"],
    "adagrad, sparse": ["--trainer", "adagrad", "--exchange", "sparse"],
    "lamb, patience": ["--trainer", "lamb", "--patience", 1000],
}


def long_sentences(count, rng):
    """Labels that follow each other nearly at random: training takes its time."""
    lines = []
    for _ in range(count):
        label = rng.randrange(LABELS)
        for _ in range(rng.randrange(5, 20)):
            label = (label + rng.choice((1, 7, rng.randrange(LABELS)))) % LABELS
            lines.append(f"w{(label * 3 + rng.randrange(9)) % 97} L{label}\n")
        lines.append("\n")
    return "".join(lines).encode()


class Cases(GoingOn):
    limit = "--max-iterations"
    curve_steps = 30

    def __init__(self, top, nranks):
        super().__init__(nranks)
        self.data = make_data(os.path.join(top, "data"))
        self.long = os.path.join(top, "long")
        os.makedirs(self.long)
        rng = random.Random(4)
        for name, count in ("train.txt", 600), ("dev.txt", 200):
            put(os.path.join(self.long, name), long_sentences(count, rng))

    def words(self, *options, data=None, epochs=None):
        words = ["train", "--data", data or (self.long if epochs else self.data),
                 "--threads", 1, "--seed", 7, "--quiet", "--delta", 0, "--epsilon", 0]
        if epochs:
            trainer = options[options.index("--trainer") + 1] if "--trainer" in options \
                else "lbfgs"
            length = epochs * LENGTHS.get(trainer, BATCHES)
            words += ["--c2", 0.01, "--max-iterations" if trainer == "lbfgs" else "--epochs", length]
        return [str(word) for word in (*words, *options)]

    def lbfgs(self, name):
        return lambda folder: self.goes_on(folder, LBFGS[name])

    def kill(self, name):
        return lambda folder: self.killed(folder, KILLED[name])

    def signal(self, name):
        after_s = 0.2 + 0.4 * random.Random(f"{SEED} {name}").random()
        return lambda folder: self.signalled(folder, signal.SIGUSR1, SIGNALLED[name],
                                             after_s)

    # ---- other ranks -------------------------------------------------------------------

    def stopped(self, folder, options):
        """A snapshot of a job that a signal ended; how many ranks it had is in it. A job
        that was through before the signal came is started again."""
        status = 0
        for _ in range(3):
            shutil.rmtree(os.path.join(folder, "run"), ignore_errors=True)
            job = self.start(folder, *options, "--checkpoint-every", 4, epochs=20)
            self.wait_for(job, folder, lambda: snapshots(folder), "a snapshot")
            ranks = job.ranks()
            if ranks:
                os.kill(ranks[0], signal.SIGUSR1)
            status = job.end(LIMIT_S)
            if status != 0:
                break
        require(status == REQUEUE, job.told("is not stopped by a signal"))

    def other_ranks(self, folder, options, key="objective"):
        """One more, and from there back: the result is nearly that of one run through."""
        self.through(folder, *options, "--report", "whole.json", epochs=20)
        self.stopped(folder, options)
        shutil.copytree(os.path.join(folder, "run"), os.path.join(folder, "copy"))
        self.through(folder, *options, "--checkpoint", "run", "--resume", "auto",
                     "--report", "again.json", model="again.crf", nranks=self.nranks + 1,
                     epochs=20)
        whole, again = (report(folder, name) for name in ("whole.json", "again.json"))
        require(abs(again[key] - whole[key]) < 0.05 * whole[key],
                f"{key} {again[key]}, {whole[key]} without a stop")

    def same_point(self, folder):
        """All vectors arrive: after no further iteration the model is the same."""
        part = ["--checkpoint", "run", "--checkpoint-every", 7]
        self.through(folder, *part, "--max-iterations", 23, model="part.dml")
        step = int(snapshots(folder)[-1].rsplit("-", 1)[1])
        here, there = (self.through(folder, *part, "--resume", "auto",
                                    "--max-iterations", step, model=f"{n}.dml", nranks=n)
                       for n in (self.nranks, self.nranks + 1))
        require(here == there, "weights changed on their way to other ranks")

    # ---- words -------------------------------------------------------------------------

    def changed_counters(self, folder):
        many, below = struct.pack("<Q", 1 << 33), struct.pack("<d", -1)
        self.through(folder, "--checkpoint", "run", "--checkpoint-every", 7,
                     "--max-iterations", 23)
        self.changed(folder, [], [
            ("training", 3, many, '"iterations" is 8589934592, 0 to 4294967295 '),
            ("training", 4, many, '"evaluations" is 8589934592, '),
            ("training", 5, many, '"epochs without a better one" is 8589934592, '),
            ("training", 14, struct.pack("<d", math.nan), '"seconds so far" is nan, '),
            ("lbfgs", 1, struct.pack("<d", 7), '"pairs" is 7, 0 to 6 '),
            ("lbfgs", 2, struct.pack("<d", 6), '"oldest pair" is 6, 0 to 5 '),
            ("lbfgs", 4, below, '"evaluations" is -1, ')])
        for trainer, changes in [
                ("adam", [("batches", 0, many, '"steps" is 8589934592, 0 to ')]),
                ("perceptron", [("training", 3, many[1:] + b"\0", '"epochs" is 33554432, 0 to 120 '),
                                ("steps", 0, many, '"sentences so far" is 8589934592, ')])]:
            shutil.rmtree(os.path.join(folder, "run"))
            self.stopped(folder, ["--trainer", trainer])
            self.changed(folder, ["--trainer", trainer], changes, epochs=20)

    def wrong_words(self, folder):
        part = ["--checkpoint", "run", "--checkpoint-every", 7]
        self.through(folder, *part, "--max-iterations", 23, model="part.dml")
        same = os.path.join(folder, "same")
        shutil.copytree(self.data, same)
        train = get(os.path.join(same, "train.txt"))
        put(os.path.join(same, "train.txt"), train.replace(b"dog", b"hog"))
        less = os.path.join(folder, "less.txt")
        put(less, train[:train.index(b"\n\n") + 2] + train)
        resume = [*part, "--resume", "auto"]
        for words, told in [
                (["--checkpoint", "absent/run"], ["absent/run", "No such file"]),
                (["--checkpoint", "run"], ["run holds snapshots", "--resume auto"]),
                (["--resume", "auto"], ["--resume auto", "--checkpoint"]),
                ([*part[:2], "--checkpoint-every", "5x"], ["--checkpoint-every", "5x"]),
                ([*resume, "--c2", 0.5], ["made with --c2 1", "--c2 0.5"]),
                ([*resume, "--c1", 0.5], ["--c1 0.5"]),
                ([*resume, "--memory", 5], ["--memory 6", "--memory 5"]),
                ([*resume, "--trainer", "adam"], ["--trainer lbfgs", "adam"]),
                ([*resume, "--min-count", 2], ["--min-count"]),
                ([*resume, "--data", self.long], ["--resume", "sentences", "--data"]),
                ([*resume, "--data", same], ["--resume", "other sentences", "--data"]),
                ([*resume, "--train", less], ["--resume", "121 "])]:
            fails(folder, [Job.launcher, "-n", str(self.nranks), Job.program,
                           *self.words(*words)], told)


def make_cases(top, nranks):
    cases = Cases(top, nranks)
    through = [(f"goes on: {name}" if name[0] != "*" else f"* goes on: {name[2:]}",
                cases.lbfgs(name)) for name in LBFGS]
    killed = [("killed: lbfgs", lambda f: cases.killed(f, [])),
              *((f"killed: {name}", cases.kill(name)) for name in KILLED)]
    if nranks != 2:  # what may depend on the number of ranks
        return [*through, *killed[:2], killed[-1]]
    return [
        *through,
        *killed,
        *((f"SIGUSR1: {name}", cases.signal(name)) for name in SIGNALLED),
        ("curve", cases.curve),
        ("SIGUSR1: lbfgs", lambda f: cases.signalled(f, signal.SIGUSR1)),
        ("other ranks, lbfgs", lambda f: cases.other_ranks(f, [])),
        ("other ranks, adam", lambda f: cases.other_ranks(f, ["--trainer", "adam"])),
        ("other ranks, perceptron",
         lambda f: cases.other_ranks(f, ["--trainer", "perceptron"], "dev_value")),
        ("other ranks, same point", cases.same_point),
        ("wrong words", cases.wrong_words),
        ("changed counters", cases.changed_counters),
    ]


if __name__ == "__main__":
    sys.exit(main(make_cases))
