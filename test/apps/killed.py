#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-cnn when its launcher is the wrong one, and when ranks or the job are killed.

The whole job must end within 10 s, with a status that is not 0, and leave no process
and no file. Usage: killed.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
"""

import os
import shutil
import signal
import subprocess
import sys
import time

from jobs import (Job, LIMIT_S, Skip, check_failure, fails, main, make_idx, require,
                  without_banners)


class Cases:
    def __init__(self, top, nranks):
        self.nranks = nranks
        self.idx = os.path.join(top, "idx")
        make_idx(self.idx)
        self.words = ["train", "--data", self.idx, "--batch", "12", "--threads", "1"]

    def start(self, folder, env=None):
        """A job that would train for a minute or more, and write all files at the end."""
        return Job([Job.launcher, "-n", self.nranks, Job.program, *self.words,
                    "--epochs", "20000", "--report", "report.json", "--curve",
                    "curve.jsonl", "--model", "net.dml"], folder, env)

    def start_training(self, folder, env=None):
        job = self.start(folder, env)
        job.wait_until(lambda: "epoch 3.00 " in job.text(job.out), "the third epoch")
        return job, job.ranks()

    def ends(self, job, folder):
        status = job.end(LIMIT_S)
        require(status != 0, job.told("exit status 0 after a kill"))
        ours = [line for line in without_banners(job.text(job.err))
                if line.startswith("dml-cnn")]
        require(len(ours) <= 1, job.told(f"{len(ours)} lines of dml-cnn"))
        left = os.listdir(folder)
        require(not left, job.told(f"files left behind: {left}"))

    def killed(self, folder, which):
        job, ranks = self.start_training(folder)
        require(len(ranks) == self.nranks, job.told(f"{len(ranks)} ranks found"))
        os.kill(ranks[which], signal.SIGKILL)
        self.ends(job, folder)

    def stopped_then_killed(self, folder):
        job, ranks = self.start_training(folder)
        os.kill(ranks[-1], signal.SIGSTOP)
        time.sleep(0.5)
        require(job.process.poll() is None, job.told("ended while a rank was stopped"))
        os.kill(ranks[-1], signal.SIGKILL)
        self.ends(job, folder)

    def stopped_for_ever(self, folder):
        """One rank reports who is missing, and the job ends by itself."""
        job, ranks = self.start_training(folder, {"DML_TIMEOUT_S": "0.5"})
        os.kill(ranks[-1], signal.SIGSTOP)
        self.ends(job, folder)
        told = job.text(job.err)
        for word in ("roll call of", f"pid {ranks[-1]}) ", "its process is stopped"):
            require(word in told, job.told(f"\"{word}\" is not said"))
        require(told.count("roll call of") == 1, job.told("not one report"))

    def killed_at_the_start(self, folder):
        job = self.start(folder)
        job.wait_until(job.ranks, "a first rank")
        ranks = job.ranks()
        if ranks:
            os.kill(ranks[0], signal.SIGKILL)
        self.ends(job, folder)

    def interrupted(self, folder):
        """As by Ctrl-C, or by a batch system at the end of its time."""
        job, _ = self.start_training(folder)
        os.kill(job.process.pid, signal.SIGTERM)
        self.ends(job, folder)

    def wrong_launcher(self, folder):
        """Every process of it believes to be rank 0 of 1."""
        linked = subprocess.run(["ldd", Job.program], capture_output=True, text=True)
        open_mpi = "libmpi.so" in linked.stdout
        other = "mpiexec.hydra" if open_mpi else "mpirun.openmpi"
        if not shutil.which(other):
            raise Skip(f"{other} is not installed")
        seen, wanted = ("MPICH", "Open MPI") if open_mpi else ("Open MPI", "MPICH")
        for options in [], ["--quiet", "--report", "report.json", "--model", "net.dml"]:
            fails(folder, [other, "-n", str(self.nranks), Job.program, *self.words,
                           *options],
                  [f"{seen}'s mpi", f"started {self.nranks} processes",
                   f"linked with {wanted}", "start it with"])

    def full_disk(self, folder):
        """A small file system of its own: the model does not fit, and leaves nothing."""
        disk = os.path.join(folder, "disk")
        os.mkdir(disk)
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk],
                               capture_output=True, text=True)
        if mount.returncode != 0:
            raise Skip("a file system cannot be mounted here")
        try:
            job = Job([Job.launcher, "-n", self.nranks, Job.program, *self.words,
                       "--epochs", "1", "--quiet", "--model", "disk/net.dml"], folder)
            check_failure(job, ["disk/net.dml", "No space left", "make room"])
            require(not os.listdir(disk), f"left behind: {os.listdir(disk)}")
        finally:
            subprocess.run(["umount", "-l", disk], check=False)


def make_cases(top, nranks):
    cases = Cases(top, nranks)
    made = [("a rank killed in training", lambda folder: cases.killed(folder, -1)),
            ("stopped, then killed", cases.stopped_then_killed)]
    if nranks > 1:
        made.append(("stopped for ever", cases.stopped_for_ever))
    if nranks == 2:
        made += [("the first rank killed", lambda folder: cases.killed(folder, 0)),
                 ("killed at the start", cases.killed_at_the_start),
                 ("the job is interrupted", cases.interrupted),
                 ("a full disk", cases.full_disk)]
    if nranks > 1:
        made.append(("the wrong launcher", cases.wrong_launcher))
    return made


if __name__ == "__main__":
    sys.exit(main(make_cases))
