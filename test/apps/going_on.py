# SPDX-License-Identifier: BSD-3-Clause
"""Jobs that are stopped and go on, for the tests of every application with snapshots.

A job that went on must end with the bits of one that ran through: the model files are
compared. Random moments come from a seed that is printed; DML_TEST_SEED repeats it.
DML_TEST_KILLS=200 kills more than 4 jobs before the one that may end.
"""

import json
import os
import random
import signal
import struct
import time

from jobs import (Job, LIMIT_S, TRAIN_S, fails, get, mpirun, put, require,
                  without_banners)
from record_files import crc32c

REQUEUE = 75
SEED = int(os.environ.get("DML_TEST_SEED", random.randrange(1 << 30)))
KILLS = int(os.environ.get("DML_TEST_KILLS", "4"))
EPOCHS = 15 * KILLS  # of a job that is to be interrupted
# Sums of three and more ranks have the same bits in every job in this mode only.
BITS = {"DML_REPRODUCIBLE": "1"}


def snapshots(folder):
    path = os.path.join(folder, "run")
    names = os.listdir(path) if os.path.isdir(path) else []
    return sorted(name for name in names if name.startswith("snapshot-"))


def spoil(folder, name, at, data):
    """Other bytes in a section of rank 0 in the newest snapshot, with all sums right:
    doc/checkpoints.md. Returns what puts it right again."""
    top = os.path.join(folder, "run", snapshots(folder)[-1])
    paths = [os.path.join(top, file) for file in ("shard-000000", "manifest")]
    before = [get(path) for path in paths]
    shard, manifest = map(bytearray, before)
    count, = struct.unpack_from("<I", shard, 20)
    table, = struct.unpack_from("<Q", shard, 40)
    entry, begin = 64, 68 + table
    for _ in range(count):
        length, _, dtype, _, _, here, _ = struct.unpack_from("<4I3Q", shard, entry)
        size = here * {0: 4, 1: 8, 5: 1}[dtype]
        if shard[entry + 40:entry + 40 + length].decode() == name:
            break
        entry += 40 + length
        begin += size
    else:
        require(False, f"no section {name}")
    require(at + len(data) <= size, f"{name} has {size} bytes")
    shard[begin + at:begin + at + len(data)] = data
    struct.pack_into("<I", shard, entry + 12, crc32c(shard[begin:begin + size]))
    struct.pack_into("<I", shard, 64 + table, crc32c(shard[:64 + table]))
    manifest[64 + 8:64 + 12] = shard[64 + table:68 + table]
    struct.pack_into("<I", manifest, len(manifest) - 4, crc32c(manifest[:-4]))
    for path, new in zip(paths, (shard, manifest)):
        put(path, new)
    return lambda: [put(path, old) for path, old in zip(paths, before)]


def taken_elsewhere(pid, number):
    """The main thread, which may be in generated code, does not take the signal."""
    def takes(thread):
        status = get(f"/proc/{pid}/task/{thread}/status").decode()
        blocked = int(status.split("SigBlk:")[1].split()[0], 16)
        return not blocked >> (number - 1) & 1

    require(not takes(pid), f"the main thread takes signal {number}")
    require(any(takes(int(thread)) for thread in os.listdir(f"/proc/{pid}/task")),
            f"no thread takes signal {number}")


class GoingOn:
    """What an application has of its own: words(*options, epochs=N), the words of a job
    that trains for N epochs, and an option that ends a job early."""

    limit = "--max-steps"
    curve_steps = 50

    def __init__(self, nranks):
        self.nranks = nranks
        print(f"seed {SEED}", flush=True)

    def words(self, *options, **more):
        raise NotImplementedError

    def through(self, folder, *options, model="whole.dml", nranks=None, **more):
        """The bytes of the model of a job that runs through."""
        mpirun(folder, nranks or self.nranks,
               *self.words("--model", model, *options, **more), env=BITS)
        return get(os.path.join(folder, model))

    def start(self, folder, *options, **more):
        command = [Job.launcher, "-n", self.nranks, Job.program,
                   *self.words("--checkpoint", "run", "--resume", "auto", *options,
                               **more)]
        return Job(command, folder, BITS)

    def goes_on(self, folder, options, **more):
        """The first job ends after 23 steps of more; its last snapshot is of step 21 or
        before."""
        whole = self.through(folder, *options, **more)
        part = ["--checkpoint", "run", "--checkpoint-every", 7, *options]
        self.through(folder, *part, self.limit, 23, model="part.dml", **more)
        require(snapshots(folder), "no snapshot is there")
        again = self.through(folder, *part, "--resume", "auto", model="again.dml", **more)
        require(again == whole, f"other bits than without a stop: {options}")

    def changed(self, folder, options, changes, **more):
        """Numbers that no job comes to: (section, word of it, bytes, what is told)."""
        words = self.words(*options, "--resume", "run", **more)
        for section, word, data, told in changes:
            repair = spoil(folder, section, 8 * word, data)
            fails(folder, [Job.launcher, "-n", str(self.nranks), Job.program, *words],
                  ["--resume", "run/snapshot-", told, "expected", "older snapshot"])
            repair()
        mpirun(folder, self.nranks, *words)

    def curve(self, folder):
        """It is whole, too: what was written before the stop comes from the snapshot."""
        options = ["--checkpoint", "run", "--checkpoint-every", 7, "--curve"]
        self.through(folder, "--curve", "whole.jsonl")
        self.through(folder, *options, "part.jsonl", self.limit, self.curve_steps)
        require(int(snapshots(folder)[-1].rsplit("-", 1)[1]) > 0, "no snapshot")
        self.through(folder, *options, "again.jsonl", "--resume", "auto")
        curves = []
        for name in "whole.jsonl", "again.jsonl":
            lines = get(os.path.join(folder, name)).decode().splitlines()
            curves.append([{key: value for key, value in json.loads(line).items()
                            if key != "seconds"} for line in lines])
        require(curves[0] == curves[1], f"another curve: {curves}")

    def wait_for(self, job, folder, condition, what):
        deadline = time.monotonic() + TRAIN_S
        while not condition():
            if job.process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                job.kill()
                require(False, job.told(f"waited in vain for {what}"))
            time.sleep(0.0005)
        return True

    def killed(self, folder, options):
        """Any rank, at any moment, every second time while a snapshot is being written."""
        rng = random.Random(f"{SEED} {options}")
        long = [*options, "--checkpoint-every", 4]
        whole = self.through(folder, *options, epochs=EPOCHS)
        killed = 0
        for kill in range(KILLS):
            before = snapshots(folder)
            job = self.start(folder, *long, epochs=EPOCHS)
            self.wait_for(job, folder, lambda: snapshots(folder) != before,
                          "a snapshot")
            time.sleep(rng.random() * 0.3)
            if kill % 2:
                run = os.path.join(folder, "run")
                self.wait_for(job, folder, lambda: any(
                    name.startswith("unnamed-") for name in os.listdir(run)), "writing")
            ranks = job.ranks()
            if ranks:
                os.kill(rng.choice(ranks), signal.SIGKILL)
            killed += job.end(LIMIT_S) != 0
        require(2 * killed >= KILLS, f"{killed} of {KILLS} jobs were killed")
        job = self.start(folder, *long, "--model", "again.dml", epochs=EPOCHS)
        status = job.end(TRAIN_S)
        require(status == 0, job.told(f"exit status {status}, 0 expected"))
        require(get(os.path.join(folder, "again.dml")) == whole,
                f"other bits after kills, seed {SEED}")
        left = [name for name in os.listdir(os.path.join(folder, "run"))
                if name.startswith("unnamed-")]
        require(not left, f"left behind: {left}")

    def signalled(self, folder, number, options=(), after_s=0.2):
        """One rank gets the signal; all write a snapshot and end with one status."""
        whole = self.through(folder, *options, epochs=EPOCHS)
        job = self.start(folder, *options, "--model", "again.dml", epochs=EPOCHS)
        self.wait_for(job, folder,
                      lambda: os.path.exists(os.path.join(folder, "run/lock")) and
                      len(job.ranks()) == self.nranks, "all ranks")
        time.sleep(after_s)
        ranks = job.ranks()
        require(len(ranks) == self.nranks, job.told("ended before the signal"))
        taken_elsewhere(ranks[-1], number)
        os.kill(ranks[-1], number)
        status = job.end(LIMIT_S)
        require(status == REQUEUE, job.told(f"exit status {status}, 75 expected"))
        require(not without_banners(job.text(job.err)), job.told("lines on stderr"))
        require(len(snapshots(folder)) == 1, f"{snapshots(folder)} are there")
        require(not os.path.exists(os.path.join(folder, "again.dml")), "a model is there")
        job = self.start(folder, *options, "--model", "again.dml", epochs=EPOCHS)
        require(job.end(TRAIN_S) == 0, job.told("does not go on"))
        require(get(os.path.join(folder, "again.dml")) == whole,
                "other bits than without a stop")

    def signalled_early(self, folder):
        """While MPI starts, long before the first step: the same."""
        bit = 1 << (signal.SIGUSR1 - 1)

        def catches(pid):
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                return any(line.startswith("SigCgt:") and int(line.split()[1], 16) & bit
                           for line in file)

        job = self.start(folder, epochs=20000)
        self.wait_for(job, folder, lambda: any(map(catches, job.ranks())), "a handler")
        lock = os.path.exists(os.path.join(folder, "run/lock"))
        for pid in filter(catches, job.ranks()):
            os.kill(pid, signal.SIGUSR1)
        status = job.end(LIMIT_S)
        require(not lock, job.told("signals are caught after the folder is opened"))
        require(status == REQUEUE, job.told(f"exit status {status}, 75 expected"))
        require(len(snapshots(folder)) == 1, f"{snapshots(folder)} are there")

    def second_signal(self, folder):
        """The other ranks are stopped, so the first signal cannot be agreed upon."""
        job = self.start(folder, epochs=20000)
        self.wait_for(job, folder,
                      lambda: os.path.exists(os.path.join(folder, "run/lock")) and
                      len(job.ranks()) == self.nranks, "all ranks")
        time.sleep(0.3)
        ranks = job.ranks()
        for pid in ranks[:-1]:
            os.kill(pid, signal.SIGSTOP)
        if self.nranks > 1:
            os.kill(ranks[-1], signal.SIGTERM)
            time.sleep(0.3)
            require(job.process.poll() is None, job.told("ended by the first signal"))
        os.kill(ranks[-1], signal.SIGUSR1)
        if self.nranks == 1:
            os.kill(ranks[-1], signal.SIGTERM)
        status = job.end(LIMIT_S)
        require(status not in (0,) and (self.nranks == 1 or status != REQUEUE),
                job.told(f"exit status {status}"))
