#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""No memory in an application, at each place that allocates, one after another: the job
ends with one line and a status that is not 0, or does without; no file is half written.

Usage: no_memory.py LAUNCHER NRANKS SHIM EVERY PROGRAM...
EVERY: only each so-manieth place is made to fail, others in each run, and the first place
of a program, where no rank can tell another yet; 1 tries all. The
programs are told apart by their names.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile

from jobs import make_idx, without_banners

LIMIT_S = 60
MOST = 3000  # places


def table(folder):
    rng = random.Random(3)
    with open(os.path.join(folder, "t.csv"), "w", encoding="ascii") as file:
        file.write("a,b,color,kind\n")
        for i in range(60):
            file.write(f"{rng.random():.3f},{'' if i % 9 == 0 else i},"
                       f"{rng.choice(['red', 'blue'])},{'yes' if i % 3 else 'no'}\n")


def corpus(folder):
    with open(os.path.join(folder, "c.txt"), "w", encoding="ascii") as file:
        for i in range(12):
            file.write(f"The D\ndog{i} N\nruns V\n\n")


def keys(folder):
    with open(os.path.join(folder, "k.txt"), "w", encoding="ascii") as file:
        for i in range(400):
            file.write(f"key{i * i % 17}\n")


# Program: what makes its inputs, and the words of its runs. The second may read what the
# first has written.
RUNS = {
    "dml-prf": (table, [
        "train --data t.csv --label kind --trees 3 --threads 1 --model m.dml --report "
        "r.json --quiet",
        "predict --model m.dml --data t.csv --out p.csv --quiet",
    ]),
    "dml-crf": (corpus, [
        "train --train c.txt --max-iterations 3 --threads 1 --model m.crf --report r.json "
        "--quiet",
        "tag --model m.crf --data c.txt",
    ]),
    "dml-skew": (keys, [
        "count --data k.txt --key words --out counts --quiet",
        "sort --data k.txt --key line --out sorted --quiet",
    ]),
    "dml-cnn": (lambda folder: make_idx(os.path.join(folder, "data")), [
        "train --data data --net small --max-steps 2 --batch 12 --threads 1 --model m.dml "
        "--report r.json --quiet",
    ]),
    "dml-tune": (lambda folder: None, ["--output table --collective bcast --max 4K "
                                       "--seconds 0.1"]),
    "dml-records": (keys, ["convert --from lines --in k.txt --out k.records --no-sync"]),
}


class Sweep:
    def __init__(self, launcher, program, nranks, shim):
        self.name = os.path.basename(program)
        self.command = [launcher, "-n", str(nranks), program] if nranks > 1 else [program]
        self.nranks, self.shim = nranks, shim
        self.wrong, self.injected = [], 0

    def few_lines(self, lines):
        """One of the program; of several ranks whose message itself failed, one each."""
        ours = [line for line in lines if line.startswith(self.name)]
        return 1 <= len(ours) <= self.nranks

    def run(self, folder, words, place):
        """Whether there was such a place."""
        told = os.path.join(os.path.dirname(folder), "told")
        env = dict(os.environ, OMPI_MCA_odls_base_sigkill_timeout="0")
        # The launcher's own memory is not tried.
        own = {"LD_PRELOAD": self.shim, "FAULT_MEMORY": str(place), "FAULT_TOLD": told,
               "FAULT_RANK": str(self.nranks - 1)}
        command = list(self.command)
        if self.nranks > 1:
            command[1:1] = [word for item in own.items() for word in ("-x", "=".join(item))]
        else:
            env.update(own)
        try:
            done = subprocess.run(command + words.split(), cwd=folder, env=env,
                                  capture_output=True, timeout=LIMIT_S, check=False,
                                  stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            self.wrong.append(f"{words}: place {place}: hangs")
            return os.path.exists(told)
        if not os.path.exists(told):
            if done.returncode != 0:
                raise SystemExit(f"{words}: {done.stderr.decode()}")
            return False
        os.unlink(told)
        self.injected += 1
        lines = without_banners(done.stderr.decode("utf-8", "replace"))
        if done.returncode < 0 or done.returncode > 128 or \
                any("signal" in line for line in lines):
            self.wrong.append(f"{words}: place {place}: status {done.returncode}: {lines}")
        elif done.returncode != 0 and not self.few_lines(lines):
            self.wrong.append(f"{words}: place {place}: not one line: {lines}")
        elif done.returncode != 0 and "memory" not in "".join(lines).lower():
            self.wrong.append(f"{words}: place {place}: not of memory: {lines}")
        return True

    def sweep(self, top, make, runs, every):
        clean = os.path.join(top, "clean")
        os.mkdir(clean)
        make(clean)
        for words in runs:
            if words.startswith("tag") and self.nranks > 1:  # it works on one
                continue
            start = 1 + random.randrange(every)
            places = {*range(start, MOST, every)} | ({1} if words == runs[0] else set())
            for place in sorted(places):
                folder = os.path.join(top, "run")
                shutil.copytree(clean, folder)
                before = set(os.listdir(folder))
                there = self.run(folder, words, place)
                made = {name for name in os.listdir(folder) if name.startswith(".")}
                if made - before:
                    self.wrong.append(f"{words}: place {place}: left {sorted(made)}")
                if not there:  # the next run reads what this one wrote
                    shutil.rmtree(clean)
                    os.rename(folder, clean)
                    break
                shutil.rmtree(folder)
                if len(self.wrong) >= 12:
                    break


def main():
    launcher, nranks, shim = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    every = int(sys.argv[4])
    seed = int(os.environ.get("DML_TEST_SEED", "20261122"))
    random.seed(seed)
    failed = 0
    for program in sys.argv[5:]:
        sweep = Sweep(launcher, os.path.realpath(program), nranks, os.path.realpath(shim))
        top = tempfile.mkdtemp(prefix="dml-memory-")
        try:
            make, runs = RUNS[sweep.name]
            sweep.sweep(top, make, runs, every)
        finally:
            shutil.rmtree(top)
        for line in sweep.wrong:
            print(f"FAILED: {sweep.name}: {line} (seed {seed})")
        print(f"{sweep.name}: {sweep.injected} places without memory, "
              f"{len(sweep.wrong)} wrong", flush=True)
        failed += bool(sweep.wrong)
    print(f"{len(sys.argv) - 5 - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
