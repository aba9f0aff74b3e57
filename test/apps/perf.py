#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-perf as a user meets it: its modes come to an end with right results, its JSON has
the keys that other programs rely on, scripts/plot draws its map, and mistakes are one line.

Usage: perf.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
"""

import json
import os
import subprocess
import sys

from jobs import Job, Skip, TRAIN_S, fails, main, mpirun, require

KEYS = ["collective", "bytes", "count", "dtype", "op", "algorithm", "buffers", "nranks",
        "time_us", "algbw_gbs", "busbw_gbs", "wrong", "peer", "peer_time_us", "ratio"]
SMALL = ["--min", "64", "--max", "16K", "--factor", "16", "--budget", "0.01"]
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def rows(folder):
    with open(os.path.join(folder, "out.jsonl"), encoding="ascii") as file:
        return [json.loads(line) for line in file]


def table(nranks, words, *, peer=True, env=None, also=()):
    """A run over three sizes; "also" are keys that must have values."""
    def case(folder):
        text = mpirun(folder, nranks, *words, *SMALL, "--json", "out.jsonl", env=env)
        found = rows(folder)
        require(len(found) == 3, f"{len(found)} rows of 3:\n{text}")
        for row in found:
            require(list(row)[:len(KEYS)] == KEYS, f"the keys are {list(row)}")
            require(row["nranks"] == nranks and row["wrong"] == 0, f"row {row}")
            require(row["time_min_us"] <= row["time_us"] <= row["time_max_us"],
                    f"the median is not between the ends: {row}")
            require((row["ratio"] is not None) == peer, f"a peer is there or not: {row}")
            require(all(row[key] for key in also), f"no {also}: {row}")
    return case


def sweep(nranks):
    def case(folder):
        mpirun(folder, nranks, "allreduce", "--sweep", "--min", "64", "--max", "1K",
               "--factor", "16", "--budget", "0.005", "--json", "out.jsonl")
        found = rows(folder)
        cells = {(row["nranks"], row["bytes"]) for row in found}
        require(len(cells) == 2 * (nranks - 1), f"cells: {cells}")
        for cell in cells:
            names = [r["algorithm"] for r in found if (r["nranks"], r["bytes"]) == cell]
            require("auto" in names and "ring" in names, f"algorithms: {names}")
        draw(folder)
    return case


def draw(folder):
    python = "/usr/bin/python3"
    if subprocess.run([python, "-c", "import matplotlib"],
                      stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("the sweep is fine; no matplotlib to draw it")
    done = subprocess.run([python, TOP + "/scripts/plot", "out.jsonl", "-o", "map.png"],
                          cwd=folder, stderr=subprocess.PIPE, text=True, timeout=TRAIN_S)
    require(done.returncode == 0, f"scripts/plot: {done.stderr}")
    with open(os.path.join(folder, "map.png"), "rb") as file:
        require(file.read(4) == b"\x89PNG", "map.png is no picture")


def tensors(nranks, *more):
    def case(folder):
        mpirun(folder, nranks, "--tensors", "--budget", "0.1", "--json", "out.jsonl", *more)
        row, = rows(folder)
        require(row["tensors"] == 1000 and row["wrong"] == 0, f"row {row}")
        require(row["time_us"] > 0 and row["peer_time_us"] > 0, f"row {row}")
        require(row["memcpy_time_us"] > 0, f"row {row}")
    return case


def full_device(start):
    """A name for /dev/full, which a program that renames to it replaces without harm."""
    def case(folder):
        os.symlink("/dev/full", os.path.join(folder, "full"))
        job = Job([*start, "barrier", *SMALL, "--json", "full"], folder)
        status = job.end(TRAIN_S)
        told = [line for line in job.text(job.err).splitlines()
                if line.startswith("dml-perf: ")]
        require(status != 0 and len(told) == 1 and "--json full: No space" in told[0],
                job.told(f"exit status {status} and {told}"))
        require(os.path.islink(os.path.join(folder, "full")), "the device was replaced")
    return case


def make_cases(_, nranks):
    start = [Job.launcher, "-n", nranks, Job.program]
    openmpi = "orterun" in os.path.realpath(Job.launcher)
    dynamic = {"OMPI_MCA_coll_tuned_use_dynamic_rules": "1"}
    cases = [
        ("plain", table(nranks, ["allreduce"])),
        ("symmetric, in place, in order",
         table(nranks, ["allreduce", "--buffers", "symmetric", "--in-place",
                        "--reproducible"], also=("reproducible_time_us",))),
        ("bf16", table(nranks, ["allreduce", "--dtype", "bf16"])),
        ("f16, product, reduce", table(nranks, ["reduce", "--dtype", "f16", "--op",
                                                "prod"])),
        ("averages", table(nranks, ["allreduce", "--op", "avg"], peer=False)),
        ("all to all, async", table(nranks, ["alltoall", "--async"])),
        ("tensors", tensors(nranks)),
        ("small tensors, symmetric",
         tensors(nranks, "--max", "4K", "--buffers", "symmetric")),
        ("the map", sweep(nranks)),
        ("no such collective", lambda folder: fails(folder, [*start, "allreduse"],
                                                    ["allreduse"])),
        ("in place elsewhere", lambda folder: fails(
            folder, [*start, "bcast", "--in-place"], ["--in-place"])),
        ("no budget", lambda folder: fails(
            folder, [*start, "bcast", "--budget", "no"], ["--budget"])),
        ("rows into a folder", lambda folder: fails(
            folder, [*start, "bcast", "--json", "/"], ["--json /", "directory"])),
        ("rows onto a full device", full_device(start)),
    ]
    if openmpi:
        cases.append(("best peer", table(nranks, ["allreduce", "--peer", "best"],
                                         env=dynamic, also=("best_peer",))))
        cases.append(("best peer without its variable", lambda folder: fails(
            folder, [*start, "allreduce", "--peer", "best"], ["dynamic_rules"])))
    return cases


if __name__ == "__main__":
    sys.exit(main(make_cases))
