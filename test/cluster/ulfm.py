#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ranks of dml-cnn are killed under an MPI library with ULFM: the others go on in the
same processes, and end with status 0 and the accuracy of a run that nobody disturbed.

Usage: ulfm.py [DML-CNN] [--kills N] [--ranks P] [--images N] [--epochs N] [--within S]
    [--seed N] [--device cpu|gpu]

Where DML-CNN is not given, or $DML_TEST_ULFM is set, it runs in the folder of that
name, which scripts/ulfm-chroot has made. A kill comes at a random moment of the
training, to a random rank; at every second one, by chance, one thread of Open MPI's
launcher is held for a moment, as it happens on a loaded machine: then MPI_Finalize waits
for the lost rank for ever (doc/adr/0012). It trains on the first images of
Fashion-MNIST, down to a rate of 0, where accuracy hardly depends on chance any more. A
longer campaign: --kills 20 --within 2 --images 18000 --epochs 2. --device gpu is for the
fake device, which is slow: on fewer images, and in smaller batches.
"""

import argparse
import contextlib
import ctypes
import gzip
import json
import os
import random
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

SKIP = 77      # Meson's exit status for a test that could not run
LIMIT_S = 240  # of a run, on a loaded machine
POINTS = 0.5   # by which the accuracy may be lower
HELD_S = 1.0
DATA = "fashion-mnist"
# What carries the collectives: the kills take turns.
TRANSPORTS = {"shared memory": {}, "messages": {"DML_SHM": "0"},
              "two nodes": {"DML_NODES": "2"}, "MPI's own": {"DML_ALLREDUCE": "mpi"}}
GPU = {"DML_GPU": "fake:4"}
GPU_TRANSPORTS = {"measured": GPU, "one GPU": {"DML_GPU": "fake:1"},
                  "host_staged": {**GPU, "DML_ALLREDUCE": "host_staged"},
                  "sharded": {**GPU, "SHARDED": "1"},
                  # The stand-in for NCCL, chosen since nothing is measured.
                  "nccl": {**GPU, "DML_MEASURE": "0", "NCCL": "1"}}
BEGUN = " parameters; "
GOES_ON = re.compile(r"rank \d+ \(host \S+, pid (\d+)\).*; goes on with (\d+) ranks?$")
STEP = re.compile(r"^step (\d+) is done by (\d+) ranks?, ")
ROOT = {name + suffix: "1" for name in ("OMPI_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT")
        for suffix in ("", "_CONFIRM")}


class Wrong(Exception):
    pass


def require(condition, text):
    if not condition:
        raise Wrong(text)


def find_data(chroot):
    roots = [os.environ.get("DML_DATA", ""), "../shared/data/" + DATA,
             "/usr/share/datasets/" + DATA, chroot + "/usr/share/datasets/" + DATA]
    return next((root for root in roots
                 if os.path.exists(root + "/train-images-idx3-ubyte.gz")), None)


def make_data(source, folder, count, ntests):
    """The first images of the training set, and of the test set."""
    os.mkdir(folder)
    for part in "images-idx3", "labels-idx1":
        for name, n in ("train", count), ("t10k", ntests):
            with gzip.open(f"{source}/{name}-{part}-ubyte.gz") as file:
                data = file.read()
            head = 4 + 4 * data[3]  # magic, whose last byte tells how many sizes follow
            each = (len(data) - head) // struct.unpack(">I", data[4:8])[0]
            with open(f"{folder}/{name}-{part}-ubyte", "wb") as file:
                file.write(data[:4] + struct.pack(">I", n) + data[8:head])
                file.write(data[head:head + n * each])


def descendants(pid):
    """Of a process, by its threads' lists of children."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found + [below for child in found for below in descendants(child)]


def parent(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


def pmix_thread(launcher):
    """The thread of Open MPI's launcher in which its PMIx server runs; None: no such."""
    for tid in map(int, os.listdir(f"/proc/{launcher}/task")):
        with open(f"/proc/{launcher}/task/{tid}/wchan", encoding="ascii") as file:
            if tid != launcher and "epoll" in file.read():
                return tid
    return None


@contextlib.contextmanager
def held(tid):
    """A thread is stopped meanwhile, and the others of its process are not."""
    trace = ctypes.CDLL(None, use_errno=True).ptrace
    trace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    seize, interrupt, detach, wall = 0x4206, 0x4207, 17, 0x40000000

    def call(request):
        require(trace(request, tid, None, None) == 0,
                f"ptrace: {os.strerror(ctypes.get_errno())}")
    call(seize)
    call(interrupt)
    os.waitpid(tid, wall)
    try:
        yield
        time.sleep(HELD_S)
    finally:
        call(detach)


def kill(rank, hold):
    """Whether the launcher's thread was held."""
    tid = pmix_thread(parent(rank)) if hold else None
    with held(tid) if tid else contextlib.nullcontext():
        os.kill(rank, signal.SIGKILL)
    return tid is not None


def is_rank(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip() == "dml-cnn"
    except OSError:
        return False


class Run:
    """A training; its lines come with the time of their arrival."""

    last = None  # the newest

    def __init__(self, args, folder, name, more=None):
        chroot = os.environ.get("DML_TEST_ULFM", "")
        self.folder = os.path.join(folder, name)
        program = "/libdml/build/apps/dml-cnn" if chroot else args.program
        data = folder[len(chroot):] + "/data"
        inside = self.folder[len(chroot):]
        os.mkdir(self.folder)
        words = ["chroot", chroot] if chroot else []
        words += ["mpirun", "--with-ft", "ulfm", "--mca", "btl", "self,sm",
                  "--oversubscribe", "-n", args.ranks,
                  program, "train", "--data", data, "--threads", 1, "--batch", args.batch,
                  "--epochs", args.epochs, "--checkpoint", inside + "/snapshots",
                  "--checkpoint-every", 20, "--on-failure", "shrink",
                  "--report", inside + "/report.json", "--device", args.device]
        words += ["--shard-optimizer"] if more and "SHARDED" in more else []
        if more and "NCCL" in more:
            build = os.path.dirname(os.path.dirname(program))
            more = {**more, "DML_TEST_NCCL": build + "/test/gpu/libfake_nccl.so"}
        self.begin_s = time.monotonic()
        self.process = subprocess.Popen(
            ["timeout", "-k", "5", str(LIMIT_S), *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **ROOT, **(more or {}), "OMP_NUM_THREADS": "1"})
        self.lines, self.news = [], threading.Condition()
        Run.last = self
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append((time.monotonic(), line.rstrip()))
                self.news.notify()

    def wait_for(self, pattern, after_s=0.0):
        """The time of the first line since then in which the pattern is found."""
        def find():
            return next((line for line in self.lines
                         if line[0] >= after_s and re.search(pattern, line[1])), None)
        end_s = self.begin_s + LIMIT_S
        with self.news:
            while not find() and self.process.poll() is None and time.monotonic() < end_s:
                self.news.wait(0.1)
            found = find()
        require(found, f"no line \"{pattern}\"\n{self.told()}")
        return found[0]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()  # timeout passes it on
            self.process.wait()

    def told(self):
        return "\n".join("  | " + text for _, text in self.lines)

    def ranks(self):
        return sorted(pid for pid in descendants(self.process.pid) if is_rank(pid))

    def end(self):
        """The report of a run that has ended well."""
        ranks = self.ranks()
        status = self.process.wait()
        require(status == 0, f"exit status {status}\n{self.told()}")
        left = [pid for pid in ranks if is_rank(pid)]
        require(not left, f"processes are left: {left}")
        with open(self.folder + "/report.json", encoding="utf-8") as file:
            return json.load(file)


def undisturbed(args, folder):
    """Accuracy, and seconds from the first step to the last."""
    run = Run(args, folder, "whole", GPU if args.device == "gpu" else None)
    begun_s = run.wait_for(BEGUN)
    report = run.end()
    require(report["lost_ranks"] == 0, "ranks are lost in a run without a kill")
    return 100 * report["test_value"], time.monotonic() - begun_s


def killed(args, folder, number, accuracy, seconds, rng):
    """A rank is killed; seconds from then to the end of the first step without it."""
    transports = GPU_TRANSPORTS if args.device == "gpu" else TRANSPORTS
    transport = list(transports)[number % len(transports)]
    shutil.rmtree(f"{folder}/killed-{number}", ignore_errors=True)
    run = Run(args, folder, f"killed-{number}", transports[transport])
    begun_s = run.wait_for(BEGUN)
    time.sleep(rng.uniform(0.05, 0.9) * seconds)
    ranks = run.ranks()
    if len(ranks) < args.ranks:  # it was faster than the first run, and is at its end
        run.end()
        return killed(args, folder, number, accuracy, 0.7 * seconds, rng)
    victim, hold = rng.choice(ranks), rng.random() < 0.5
    at_s = time.monotonic()
    hold = kill(victim, hold)
    report = run.end()
    if report["lost_ranks"] == 0:  # the kill came after its last step
        return killed(args, folder, number, accuracy, 0.7 * seconds, rng)
    ended_s = time.monotonic() - run.lines[-1][0]
    steps_s = [line_s for line_s, text in run.lines if STEP.search(text)]
    took_s = steps_s[0] - at_s if steps_s else 0  # 0: it came before the first step
    told = [GOES_ON.search(text) for _, text in run.lines if GOES_ON.search(text)]
    require(len(told) == 1 and int(told[0].group(1)) == victim,
            f"process {victim} is not named\n{run.told()}")
    steps = args.epochs * (args.images // args.batch)
    require(report["lost_ranks"] == 1 and report["ranks"] == args.ranks - 1
            and report["steps"] == steps, f"the report: {report}")
    off = 100 * report["test_value"] - accuracy
    step_s = report["train_seconds"] / steps
    print(f"kill {number}, {transport}: {at_s - begun_s:.1f} s after the begin, rank "
          f"{ranks.index(victim)} of {args.ranks}"
          f"{', launcher held' if hold else ''}; next step after "
          f"{took_s:.2f} s; accuracy {off:+.2f} points; ended {ended_s:.1f} s after its "
          "last line", flush=True)
    require(abs(off) <= POINTS, f"accuracy is {off:+.2f} points off\n{run.told()}")
    require(took_s <= args.within + step_s,
            f"the next step was done after {took_s:.2f} s\n{run.told()}")
    shutil.rmtree(run.folder)
    return took_s


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("program", nargs="?")
    parser.add_argument("--kills", type=int, help="default: each kind of messages once")
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--images", type=int)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--within", type=float, default=20, help="seconds to go on")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    args = parser.parse_args()
    gpu = args.device == "gpu"
    args.images = args.images or (1200 if gpu else 12000)
    args.batch = 12 if gpu else 120  # for 1 to 4, or 1 to 6 ranks
    args.tests = 500 if gpu else 10000
    if args.kills is None:
        args.kills = len(GPU_TRANSPORTS if gpu else TRANSPORTS)
    return args


def main():
    args = parse()
    chroot = os.environ.get("DML_TEST_ULFM", "")
    if not chroot and not args.program:
        print("skipped: no MPI library with ULFM; name a folder made by "
              "scripts/ulfm-chroot in DML_TEST_ULFM")
        return SKIP
    source = find_data(chroot)
    if not source:
        print("skipped: Fashion-MNIST is not there (package dataset-fashion-mnist)")
        return SKIP
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rng = random.Random(args.seed)
    print(f"seed {args.seed}")
    folder = tempfile.mkdtemp(prefix="dml-ulfm-", dir=chroot + "/tmp")
    times, failed = [], 0
    try:
        make_data(source, folder + "/data", args.images, args.tests)
        accuracy, seconds = undisturbed(args, folder)
        print(f"nobody killed: accuracy {accuracy:.2f} %, {seconds:.1f} s", flush=True)
        for number in range(args.kills):
            try:
                times.append(killed(args, folder, number, accuracy, seconds, rng))
            except Wrong as wrong:
                failed += 1
                print(f"kill {number}: {wrong}", flush=True)
                Run.last.stop()
    except Wrong as wrong:
        failed += 1
        print(f"nobody killed: {wrong}")
    finally:
        if Run.last:
            Run.last.stop()
        shutil.rmtree(folder, ignore_errors=True)
    steps = [took_s for took_s in times if took_s > 0]
    if steps:
        print(f"next step after: median {statistics.median(steps):.2f} s, most "
              f"{max(steps):.2f} s")
    print(f"{len(times)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
