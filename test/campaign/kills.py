#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""SIGKILL to jobs of dml-cnn, dml-crf and dml-prf on 2 to 4 ranks, to any rank or to the
launcher, at any moment: while a job starts, goes on from a snapshot, trains, or writes one.

A trial is a chain: a job is killed, goes on from its newest snapshot, is killed again, and
so on until it reaches its end. After each kill a copy of its folder is taken, and goes on
undisturbed: it must say nothing, and end with the model of a job that was never killed,
byte for byte. A half-written snapshot must never have the name of one, and each killed
job must end within 20 s and leave no process.
"""

import os
import shutil
import signal
import sys
import time

import campaign
from campaign import END_S, RANKS, Wrong, get, require, wait_for
from going_on import snapshots

KILLS_A_CHAIN = 6
LAUNCHER_SHARE = 0.15  # of the kills
MOMENTS = ("starting", "training", "training", "writing", "writing", "naming")


def unnamed(folder, file=None):
    """Folders of snapshots that are not whole; with a file of this name in them."""
    run = os.path.join(folder, "run")
    names = os.listdir(run) if os.path.isdir(run) else []
    return [name for name in names if name.startswith("unnamed-") and
            (file is None or os.path.exists(os.path.join(run, name, file)))]


def moment(job, folder, nranks, kind, rng):
    """Waits for it. The processes of the ranks, or none where the job ended before."""
    if not wait_for(job, job.ranks):
        return []
    if kind == "starting":
        time.sleep(rng.random() * 0.8)
        return job.ranks()
    before = snapshots(folder)
    if not wait_for(job, lambda: snapshots(folder) != before):
        return []
    ranks = job.ranks()
    if kind == "training":
        time.sleep(rng.random() * 0.4)
    elif kind == "writing":
        wait_for(job, lambda: unnamed(folder))
        time.sleep(rng.random() * 0.003)
    else:
        wait_for(job, lambda: unnamed(folder, "manifest"))
    return ranks if len(ranks) == nranks and job.process.poll() is None else []


def kill(work, job, ranks, rng):
    """The job ends, all of it, with a status that is not 0. What was killed; None where
    it ended by itself before."""
    launcher = rng.random() < LAUNCHER_SHARE
    pid = job.process.pid if launcher else rng.choice(ranks)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        status = job.process.wait(END_S)
    except Exception as error:
        work.count("hung")
        raise Wrong(job.told(f"hangs {END_S} s after a kill")) from error
    if status == 0:
        return None
    campaign.no_process_left(job)
    return "launcher" if launcher else "rank"


def whole_snapshots(folder):
    """Each that has the name of one has its manifest, and a file for each rank in it of
    the length that the manifest says (doc/checkpoints.md)."""
    for name in snapshots(folder):
        path = os.path.join(folder, "run", name)
        manifest = get(os.path.join(path, "manifest"))
        nranks = int.from_bytes(manifest[12:16], "little")
        require(len(manifest) == 68 + 16 * nranks, f"{name}: manifest is cut")
        for rank in range(nranks):
            wanted = int.from_bytes(manifest[64 + 16 * rank:72 + 16 * rank], "little")
            size = os.path.getsize(os.path.join(path, f"shard-{rank:06}"))
            require(size == wanted, f"{name}: shard {rank} has {size} of {wanted} bytes")


def goes_on(work, subject, nranks, folder, words, whole):
    """A copy of the folder goes on to the end."""
    copy = os.path.join(folder, "copy")
    os.mkdir(copy)
    if os.path.isdir(os.path.join(folder, "run")):
        shutil.copytree(os.path.join(folder, "run"), os.path.join(copy, "run"))
    left = unnamed(copy)
    work.count("kills that left a snapshot half written", bool(left))
    job = work.start(subject, nranks, copy, *words)
    try:
        campaign.same_model(job, copy, whole)
    finally:
        job.kill()
    told = job.text(job.out)
    require(("goes on after step" in told) == bool(snapshots(folder)),
            job.told("takes another snapshot, or none"))
    require(not unnamed(copy), f"left behind: {unnamed(copy)}")
    work.count("jobs that went on from a snapshot" if "goes on after" in told else
               "jobs that began anew, before the first snapshot")
    work.count("models identical")
    shutil.rmtree(copy)


def chain(work, number, folder, rng):
    subject, nranks = rng.choice(work.subjects()), rng.choice(RANKS)
    whole = work.whole(subject, nranks)
    words = ["--checkpoint", "run", "--checkpoint-every", rng.choice((1, 4, 20, "0.05s")),
             "--resume", "auto", "--model", "again.dml"]
    for _ in range(KILLS_A_CHAIN):
        with work.lock:
            if work.counts["kills"] >= work.options.kills:
                break
        kind = rng.choice(MOMENTS)
        job = work.start(subject, nranks, folder, *words)
        try:
            ranks = moment(job, folder, nranks, kind, rng)
            killed = kill(work, job, ranks, rng) if ranks else None
            if not killed:
                campaign.same_model(job, folder, whole)
                break
        finally:
            job.kill()
        work.count("kills")
        work.count(f"kills of a {killed}, while {kind}")
        try:
            whole_snapshots(folder)
            goes_on(work, subject, nranks, folder, words, whole)
        except Wrong as wrong:
            raise Wrong(f"{subject} on {nranks} ranks, {killed} killed while {kind}: "
                        f"{wrong}") from None
    work.count("trials passed")


class Kills(campaign.Campaign):
    def more(self):
        return self.counts["kills"] < self.options.kills

    def end(self):
        same, wanted = self.counts["models identical"], self.options.kills
        return None if same >= wanted else f"{same} of {wanted} kills gave the same model"


if __name__ == "__main__":
    sys.exit(campaign.main(campaign.options_of(__doc__, kills=(200, "how many")), Kills,
                           chain))
