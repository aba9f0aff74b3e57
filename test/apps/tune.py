#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-tune as a user meets it: the table it writes covers every collective, its
progress is shown, and its mistakes are one line.

Usage: tune.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
"""

import os
import sys

from jobs import Job, TRAIN_S, fails, main, require, without_banners

COLLECTIVES = ["allreduce", "reduce_scatter", "allgather", "bcast", "reduce", "gather",
               "scatter", "alltoall", "barrier"]
QUICK = ["--max", "4K", "--seconds", "0.3"]


def rules(text):
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    return [words for words in lines if words]


def tune(folder, nranks, *words, env=None):
    job = Job([Job.launcher, "-n", nranks, Job.program, *words], folder, env)
    status = job.end(TRAIN_S)
    require(status == 0, job.told(f"exit status {status}, 0 expected"))
    return job


def whole_table(nranks):
    def case(folder):
        job = tune(folder, nranks, "--output", "table", *QUICK)
        with open(os.path.join(folder, "table"), encoding="ascii") as file:
            found = rules(file.read())
        require(os.listdir(folder) == ["table"], "other files are left")
        require(all(len(words) == 5 for words in found), f"not five words: {found}")
        require(all(words[1] == str(nranks) for words in found), "the ranks are wrong")
        for name in COLLECTIVES:
            mine = [words[3] for words in found if words[0] == name]
            require(any(b.endswith("-") for b in mine), f"{name} has no last rule: {mine}")
            require(any(b.startswith("0-") for b in mine), f"{name}: no first one: {mine}")
        told = without_banners(job.text(job.err))
        require(len(told) == len(COLLECTIVES), job.told("no line for each collective"))
        require(all(words[2] == "1" for words in found), "there is one node here")
    return case


def one_memory(nranks, *words):
    """Where a device is in use rules are for one kind of memory, too."""
    def case(folder):
        job = tune(folder, nranks, *words, "--collective", "allreduce", *QUICK,
                   env={"DML_GPU": "fake"})
        names = {rule[4] for rule in rules(job.text(job.out))}
        paths = names & {"nccl", "ipc", "host_staged"}
        require(names and paths == (names if words else set()), job.told(f"{names}"))
    return case


def one_collective(nranks):
    def case(folder):
        job = tune(folder, nranks, "--collective", "bcast", *QUICK)
        found = rules(job.text(job.out))
        require(found and all(words[0] == "bcast" for words in found), job.told("rules"))
    return case


def reproducible(nranks):
    def case(folder):
        job = tune(folder, nranks, "--collective", "allreduce", *QUICK,
                   env={"DML_REPRODUCIBLE": "1"})
        names = {words[4] for words in rules(job.text(job.out))}
        ordered = {"flat", "staged", "shared", "cma", "direct", "gather_fold", "chain"}
        require(nranks == 1 or names <= ordered, job.told(f"not in rank order: {names}"))
    return case


def full_device(start):
    """A name for /dev/full, which a program that renames to it replaces without harm."""
    def case(folder):
        os.symlink("/dev/full", os.path.join(folder, "full"))
        job = Job([*start, "--output", "full", "--collective", "barrier", *QUICK], folder)
        status = job.end(TRAIN_S)
        told = [line for line in without_banners(job.text(job.err))
                if line.startswith("dml-tune: ")]
        require(status != 0 and len(told) == 1 and "No space left" in told[0],
                job.told(f"exit status {status} and {told}"))
        require(os.path.islink(os.path.join(folder, "full")), "the device was replaced")
    return case


def make_cases(_, nranks):
    start = [Job.launcher, "-n", nranks, Job.program]
    cases = [("the whole table", whole_table(nranks)),
             ("device memory", one_memory(nranks, "--gpu")),
             ("host memory beside a device", one_memory(nranks)),
             ("one collective", one_collective(nranks)),
             ("reproducible mode", reproducible(nranks)),
             ("a full device", full_device(start))]
    for words, said in ([["--max", "x"], ["--max x"]], [["--seconds", "0"], ["--seconds"]],
                        [["--collective", "bcst"], ["bcst"]], [["now"], ["now", "--help"]],
                        [["--outptu", "x"], ["--outptu"]],
                        [["--output", "no/such/folder"], ["no/such/folder", "folder"]],
                        [["--output", "/"], ["directory"]]):
        cases.append((" ".join(words), lambda folder, w=words, s=said:
                      fails(folder, [*start, *w], s)))
    return cases


if __name__ == "__main__":
    sys.exit(main(make_cases))
