#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-cnn goes on from its snapshots: after kills, signals, full disks, and elsewhere.

A job that went on must end with the bits of one that ran through: the model files are
compared. Random moments come from a seed that is printed; DML_TEST_SEED repeats it.
DML_TEST_KILLS=200 kills more than 4 jobs before the one that may end.
Usage: checkpoint.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
Sanitized builds run the cases marked with a "*".
"""

import math
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

from going_on import BITS, EPOCHS, SEED, GoingOn, snapshots
from jobs import (Job, Skip, TRAIN_S, fails, get, main, make_cifar, make_idx, mpirun, put,
                  require, without_banners)
from record_files import crc32c

# Name of a case -> options of dml-cnn.
RECIPES = {
    "* sgd": [],
    "nesterov, accumulate, augment": ["--nesterov", "--accumulate", 2, "--augment"],
    "* adam, sharded": ["--optimizer", "adam", "--shard-optimizer"],
    "lars, onecycle": ["--optimizer", "lars", "--schedule", "onecycle",
                       "--low-momentum", 0.8],
    "lamb, bf16": ["--optimizer", "lamb", "--precision", "bf16"],
    "sgd, bf16, sharded": ["--precision", "bf16", "--shard-optimizer"],
    "* topk": ["--compress", "topk:0.05,force"],
    "dgc": ["--compress", "dgc:0.02,warmup=40,force"],
    "onebit": ["--compress", "onebit,force"],
    "powersgd": ["--compress", "powersgd:2,force"],
    "randomk": ["--compress", "randomk:0.1,force"],
    "terngrad": ["--compress", "terngrad,force"],
    "f16": ["--compress", "f16,force"],
    "size-skew": ["--layout", "size-skew", "--balance", "ksrp"],
}


class Cases(GoingOn):
    def __init__(self, top, nranks):
        super().__init__(nranks)
        self.idx, self.cifar = (os.path.join(top, name) for name in ("idx", "cifar"))
        make_idx(self.idx)
        make_cifar(self.cifar)

    def words(self, *options, data=None, epochs=3):
        return ["train", "--data", data or self.idx, "--batch", 12, "--epochs", epochs,
                "--lr", 0.02, "--threads", 1, "--seed", 7, "--quiet",
                *(str(option) for option in options)]

    def by_path(self, folder):
        """From one that is named, without writing any; and into another folder."""
        whole = self.through(folder)
        self.through(folder, "--checkpoint", "run", "--checkpoint-every", 7,
                     "--max-steps", 30, model="part.dml")
        first = os.path.join("run", snapshots(folder)[0])
        for path, more in (first, []), ("run", ["--checkpoint", "new"]):
            again = self.through(folder, "--resume", path, *more, model="again.dml")
            require(again == whole, f"other bits from {path}")

    def recipe(self, name):
        return lambda folder: self.goes_on(folder, RECIPES[name])

    def batch_norm(self, folder):
        """Running averages are each rank's own."""
        self.goes_on(folder, ["--net", "resnet20", "--dropout", 0.1], data=self.cifar,
                     epochs=4)

    # ---- other ranks -------------------------------------------------------------------

    def other_ranks(self, folder, options, ok):
        """Written by this number of ranks, read by one more, and back."""
        part = ["--checkpoint", "run", "--checkpoint-every", 7, *options]
        self.through(folder, *part, "--max-steps", 23, model="part.dml")
        shutil.copytree(os.path.join(folder, "run"), os.path.join(folder, "copy"))
        other = self.nranks + 1
        words = self.words(*part, "--resume", "auto", "--model", "again.dml")
        if ok:
            mpirun(folder, other, *words, "--report", "r.json", env=BITS)
            whole = self.through(folder, *options, model="other.dml", nranks=other)
            again = get(os.path.join(folder, "again.dml"))
            require(len(whole) == len(again), "models of different lengths")
            return
        fails(folder, [Job.launcher, "-n", str(other), Job.program, *words],
              ["--resume", "--compress", f"{self.nranks} ranks"])

    def same_result(self, folder):
        """All of a sharded state arrives: after no further step the model is the same."""
        options = ["--optimizer", "adam", "--shard-optimizer"]
        part = ["--checkpoint", "run", "--checkpoint-every", 7, *options]
        self.through(folder, *part, "--max-steps", 23, model="part.dml")
        step = int(snapshots(folder)[-1].rsplit("-", 1)[1])
        here, there = (self.through(folder, *part, "--resume", "auto", "--max-steps",
                                    step, model=f"{n}.dml", nranks=n)
                       for n in (self.nranks, self.nranks + 1))
        require(here == there, "parameters changed on their way to other ranks")

    # ---- disks and words ---------------------------------------------------------------

    def full_disk(self, folder):
        """Training goes on without snapshots, and says so."""
        disk = os.path.join(folder, "run")
        os.mkdir(disk)
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", disk],
                               capture_output=True, text=True)
        if mount.returncode != 0:
            raise Skip("a file system cannot be mounted here")
        try:
            whole = self.through(folder)
            job = self.start(folder, "--checkpoint-every", 20, "--model", "again.dml")
            require(job.end(TRAIN_S) == 0, job.told("a full disk ends the job"))
            lines = without_banners(job.text(job.err))
            require(lines, job.told("nothing is said"))
            for line in lines:
                for word in "warning", "snapshot of step", "No space left", "run/":
                    require(word in line, job.told(f"\"{word}\" is not in a line"))
            require(get(os.path.join(folder, "again.dml")) == whole, "other bits")
            require(os.listdir(disk) == ["lock"], f"left behind: {os.listdir(disk)}")
        finally:
            subprocess.run(["umount", "-l", disk], check=False)

    def damaged(self, folder):
        """The newest is passed over with a warning; the bits are the same in the end."""
        whole = self.through(folder)
        for steps in 20, 40:  # each leaves one snapshot or more
            self.through(folder, "--checkpoint", "run", "--checkpoint-every", 7,
                         "--resume", "auto", "--max-steps", steps, model="part.dml")
        require(len(snapshots(folder)) > 1, "one snapshot only")
        newest = os.path.join(folder, "run", snapshots(folder)[-1], "shard-000000")
        data = bytearray(get(newest))
        data[random.Random(SEED).randrange(len(data))] ^= 8
        put(newest, data)
        job = self.start(folder, "--model", "again.dml")
        require(job.end(TRAIN_S) == 0, job.told("does not go on"))
        lines = without_banners(job.text(job.err))
        name = os.path.relpath(newest, folder)
        require(len(lines) == 1 and "passed over" in lines[0] and name in lines[0],
                job.told("not one warning that names the file"))
        require(get(os.path.join(folder, "again.dml")) == whole, "other bits")

    def changed_counters(self, folder):
        self.through(folder, "--checkpoint", "run", "--checkpoint-every", 7,
                     "--max-steps", 23)
        self.changed(folder, [], [
            ("training", 0, struct.pack("<Q", 1 << 40), '"steps" is 1099511627776, 0 to 60 '),
            ("training", 11, struct.pack("<d", math.inf), '"seconds of steps" is inf, '),
            ("training", 15, struct.pack("<d", -1), '"losses in the mean" is -1, 0 to '),
            ("training", 16, struct.pack("<d", math.nan), '"seconds so far" is nan, ')])

    def wrong_words(self, folder):
        put(os.path.join(folder, "file"), b"x")
        part = ["--checkpoint", "run", "--checkpoint-every", 7]
        self.through(folder, *part, "--max-steps", 23, model="part.dml")
        for words, told in [
                (["--checkpoint", "file"],
                 ["--checkpoint: file", "Not a directory; give a folder"]),
                (["--checkpoint", "absent/run"],
                 ["--checkpoint: ", "absent/run", "No such file"]),
                (["--checkpoint", "run"], ["run holds snapshots", "--resume auto"]),
                (["--resume", "auto"], ["--resume auto", "--checkpoint"]),
                (["--resume", "file"],
                 ["--resume: file", "Not a directory; give a folder"]),
                (["--resume", "absent"], ["--resume: absent", "no such folder"]),
                ([*part[:2], "--checkpoint-every", "5x"], ["--checkpoint-every", "5x"]),
                ([*part[:2], "--checkpoint-every", "0"], ["--checkpoint-every"]),
                ([*part, "--resume", "auto", "--momentum", 0.8],
                 ["made with --momentum 0.9", "--momentum 0.8"]),
                ([*part, "--resume", "auto", "--shard-optimizer"], ["shard-optimizer"]),
                ([*part, "--resume", "auto", "--data", self.cifar], ["--data"]),
                (["--on-failure", "shrink"], ["--on-failure shrink", "--checkpoint"]),
                (["--checkpoint", "new", "--on-failure", "shrink"],
                 ["--on-failure shrink", "ULFM"])]: # MPI is not started with it here
            fails(folder, [Job.launcher, "-n", str(self.nranks), Job.program,
                           *self.words(*words)], told)

    def one_job_at_a_time(self, folder):
        job = self.start(folder, epochs=20000)
        self.wait_for(job, folder, lambda: os.path.exists(
            os.path.join(folder, "run/lock")), "the lock")
        time.sleep(0.3)
        try:
            for pid in job.ranks(): # it keeps the lock, and leaves the processors alone
                os.kill(pid, signal.SIGSTOP)
            second = os.path.join(folder, "second")
            os.mkdir(second)
            fails(second, [Job.launcher, "-n", str(self.nranks), Job.program,
                           *self.words("--checkpoint", "../run", "--resume", "auto")],
                  ["another job writes", "process "])
        finally:
            job.kill()

    def format(self, folder):
        """Files as doc/checkpoints.md tells, read by nothing else."""
        self.through(folder, "--checkpoint", "run", "--checkpoint-every", "0.02s",
                     epochs=EPOCHS)
        top = os.path.join(folder, "run", snapshots(folder)[-1])
        data = get(os.path.join(top, "manifest"))
        magic, version, ranks, mark, step = struct.unpack_from("<8sIIQQ", data)
        require((magic, version, ranks) == (b"DMLSNAPS", 1, self.nranks), "manifest")
        require(len(data) == 68 + 16 * ranks, "length of the manifest")
        require(struct.unpack_from("<I", data, len(data) - 4)[0] == crc32c(data[:-4]),
                "sum of the manifest")
        require(top.endswith(f"-step-{step}"), "step")
        covered = {}
        for rank in range(ranks):
            size, crc = struct.unpack_from("<QI", data, 64 + 16 * rank)
            shard = get(os.path.join(top, f"shard-{rank:06}"))
            require(len(shard) == size, "length of a shard")
            self.shard(shard, rank, (mark, step, crc), covered)
        require(covered and all(parts == total for parts, total in covered.values()),
                f"vectors are not whole: {covered}")

    def shard(self, shard, rank, known, covered):
        (magic, version, own, ranks, count, mark, step, table,
         size, zero) = struct.unpack_from("<8s4I5Q", shard)
        require((magic, version, own, ranks, zero) ==
                (b"DMLSHARD", 1, rank, self.nranks, 0), "head of a shard")
        crc, = struct.unpack_from("<I", shard, 64 + table)
        require((mark, step, crc) == known and size == len(shard), "head of a shard")
        require(crc == crc32c(shard[:64 + table]), "sum of a head")
        at, data = 64, 68 + table
        for _ in range(count):
            n, kind, dtype, crc, first, here, total = struct.unpack_from(
                "<4I3Q", shard, at)
            name = shard[at + 40:at + 40 + n].decode()
            size = here * {0: 4, 5: 1}[dtype]
            if size < 5000:  # Python is slow at this
                require(crc == crc32c(shard[data:data + size]), f"sum of {name}")
            if kind == 3:
                parts, _ = covered.get(name, (0, 0))
                covered[name] = parts + here, total
            at += 40 + n
            data += size
        require(at == 64 + table and data == len(shard), "table of a shard")


def make_cases(top, nranks):
    cases = Cases(top, nranks)
    recipes = [(f"goes on: {name}" if name[0] != "*" else f"* goes on: {name[2:]}",
                cases.recipe(name)) for name in RECIPES]
    if nranks == 1:  # what does not depend on the number of ranks
        return [
            recipes[0],
            ("second signal", cases.second_signal),
            ("killed", lambda f: cases.killed(f, [])),
            ("SIGTERM", lambda f: cases.signalled(f, signal.SIGTERM)),
            ("a signal while MPI starts", cases.signalled_early),
            ("one job at a time", cases.one_job_at_a_time),
            ("wrong words", cases.wrong_words),
        ]
    more = [] if nranks > 2 else [
        ("changed counters", cases.changed_counters),
        ("killed, sharded", lambda f: cases.killed(f, ["--shard-optimizer"])),
        ("SIGTERM", lambda f: cases.signalled(f, signal.SIGTERM)),
        ("a signal while MPI starts", cases.signalled_early),
    ]
    return [
        *recipes,
        ("goes on: batch norm", cases.batch_norm),
        ("by path", cases.by_path),
        ("curve", cases.curve),
        ("second signal", cases.second_signal),
        ("format", cases.format),
        *more,
        ("killed, codec", lambda f: cases.killed(f, ["--compress", "dgc:0.1,force"])),
        ("* SIGUSR1", lambda f: cases.signalled(f, signal.SIGUSR1)),
        ("other ranks", lambda f: cases.other_ranks(f, [], True)),
        ("other ranks, sharded", lambda f: cases.other_ranks(
            f, ["--shard-optimizer", "--optimizer", "adam"], True)),
        ("other ranks, codec", lambda f: cases.other_ranks(
            f, ["--compress", "topk:0.1,force"], False)),
        ("other ranks, same parameters", cases.same_result),
        ("full disk", cases.full_disk),
        ("damaged", cases.damaged),
    ]


if __name__ == "__main__":
    sys.exit(main(make_cases))
