#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""scripts/dml-restart: what it starts again and what not, its signals, what it leaves.

Most cases restart small shell scripts that fail as they are told to; the last ones
dml-cnn. Usage: restart.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
"""

import os
import re
import signal
import subprocess
import sys
import time

from going_on import BITS, EPOCHS, snapshots
from jobs import (Job, TRAIN_S, get, main, make_idx, mpirun, put, require)

RESTART = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                       "../../scripts/dml-restart")
COUNT = "echo x >>starts; n=$(wc -l <starts); "
SNAPSHOT = "mkdir -p run/snapshot-00000$n-step-$n; "


def restart(folder, script, *options, env=None):
    """A job of sh under dml-restart, which keeps its history in a file."""
    put(os.path.join(folder, "job.sh"), script.encode())
    return Job([RESTART, "--log", "log", "--snapshots", "run", "--delay", 0.05, *options,
                "--", "sh", "./job.sh"], folder, env)


def starts(folder):
    path = os.path.join(folder, "starts")
    return get(path).count(b"\n") if os.path.exists(path) else 0


def log(folder):
    lines = get(os.path.join(folder, "log")).decode().splitlines()
    for line in lines:
        require(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \S", line),
                f"a line of the log without its time: {line}")
    return "\n".join(lines)


def ends(job, folder, status, count, *words):
    """With this status, after so many starts, with these words in the log."""
    ended = job.end(TRAIN_S)
    require(ended == status, job.told(f"exit status {ended}, {status} expected"))
    require(starts(folder) == count, job.told(f"{starts(folder)} starts, not {count}"))
    text = log(folder)
    for word in words:
        require(word in text, f"\"{word}\" is not in the log:\n{text}")
    for line in text.splitlines():
        require(line.split(" ", 1)[1] in job.text(job.err),
                job.told(f"the log says more than standard error: {line}"))


def case(script, status, count, *words, options=()):
    return lambda folder: ends(restart(folder, COUNT + script, *options), folder, status,
                               count, *words)


def is_alive(folder, name):
    """The process whose number a job has written into a file."""
    pid = int(get(os.path.join(folder, name)))
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def orphans(folder):
    """A process with a session of its own outlives each start, but not the next one."""
    script = COUNT + ("[ $n = 1 ] || ! kill -0 $(cat pid) 2>/dev/null || exit 64; "
                      "setsid sleep 1000 & echo $! >pid; exit 1")
    ends(restart(folder, script, "--tries", 3), folder, 1, 3, "killed 1 process",
         "3 starts in a row")
    require(not is_alive(folder, "pid"), "a process is left")


TRAP = "trap 'echo told >told; exit 75' USR1; : >ready; while :; do sleep 0.02; done"
DEAF = "trap '' USR1 TERM; echo $$ >pid; : >ready; while :; do sleep 0.02; done"


def ready(folder):
    return os.path.exists(os.path.join(folder, "ready"))


def stopped_by(number):
    """The job is told by SIGUSR1, writes its snapshot, and that is the end."""
    def act(folder):
        job = restart(folder, COUNT + TRAP)
        job.wait_until(lambda: ready(folder), "the job")
        os.kill(job.process.pid, number)
        ends(job, folder, 75, 1, f"{signal.Signals(number).name}: the job gets SIGUSR1",
             "stopped; type the same command")
        require(os.path.exists(os.path.join(folder, "told")), "the job was not told")
    return act


def stopped_between(folder):
    """There is no job at that moment, and will be none."""
    job = restart(folder, COUNT + "exit 1", "--delay", 1000)
    job.wait_until(lambda: starts(folder) and "ended with" in job.text(job.err), "an end")
    os.kill(job.process.pid, signal.SIGTERM)
    ends(job, folder, 75, 1, "stopped")


def deaf(folder):
    """A second signal ends a job that heeds none."""
    job = restart(folder, COUNT + DEAF)
    job.wait_until(lambda: ready(folder), "the job")
    for word in "SIGUSR1", "SIGTERM":
        os.kill(job.process.pid, signal.SIGINT)
        job.wait_until(lambda: f"gets {word}" in job.text(job.err), word)
    ends(job, folder, 75, 1, "the job gets SIGTERM", "(SIGKILL)")
    require(not is_alive(folder, "pid"), "the job is left")


def killed_itself(folder):
    job = restart(folder, COUNT + TRAP)
    job.wait_until(lambda: ready(folder), "the job")
    job.process.kill()
    job.process.wait()
    deadline = time.monotonic() + TRAIN_S
    while not os.path.exists(os.path.join(folder, "told")):
        require(time.monotonic() < deadline, "the job goes on without dml-restart")
        time.sleep(0.01)


def wrong_words(folder):
    for words, told in (([], "no command"), (["--"], "no command"),
                        (["--tries", "0", "--", "true"], "--tries"),
                        (["--", "true", "--checkpoint", "run"], "add --resume auto")):
        done = subprocess.run([RESTART, *words], cwd=folder, capture_output=True, text=True,
                              timeout=TRAIN_S)
        require(done.returncode == 2 and told in done.stderr,
                f"{words}: status {done.returncode}: {done.stderr}")
    done = subprocess.run([RESTART, "--help"], capture_output=True, text=True)
    require("--resume auto" in done.stdout and "--tries" in done.stdout, "no help")


class Training:
    """dml-cnn under its launcher."""

    def __init__(self, top, nranks):
        self.nranks, self.idx = nranks, os.path.join(top, "idx")
        make_idx(self.idx)

    def words(self, *options):
        return ["train", "--data", self.idx, "--batch", "12", "--lr", "0.02", "--threads",
                "1", "--seed", "7", "--epochs", str(EPOCHS), *options]

    def start(self, folder, *options):
        return Job([RESTART, "--log", "log", "--delay", 0.05, "--", Job.launcher, "-n",
                    self.nranks, Job.program,
                    *self.words("--quiet", "--checkpoint", "run", "--checkpoint-every", "4",
                                "--resume", "auto", *options)], folder, BITS)

    def killed(self, folder):
        """A rank, then the launcher; the model is that of a job that was not killed."""
        mpirun(folder, self.nranks, *self.words("--quiet", "--model", "whole.dml"), env=BITS)
        job = self.start(folder, "--model", "again.dml")
        for start, launcher in (1, False), (2, True):
            before = snapshots(folder)
            job.wait_until(lambda: snapshots(folder) != before, "a snapshot")
            rank = job.ranks()[0]
            with open(f"/proc/{rank}/stat", encoding="ascii") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            os.kill(parent if launcher else rank, signal.SIGKILL)
            job.wait_until(lambda: f"start {start} ended" in job.text(job.err), "its end")
        require(job.process.wait(TRAIN_S) == 0, job.told("fails"))
        require(get(os.path.join(folder, "again.dml")) ==
                get(os.path.join(folder, "whole.dml")), "other bits")
        text = log(folder)
        require("start 3, from snapshot-" in text and "start 4" not in text, text)
        require(text.endswith(" done"), text)
        job.kill()

    def stopped(self, folder):
        job = self.start(folder, "--epochs", "20000")
        job.wait_until(lambda: snapshots(folder), "a snapshot")
        os.kill(job.process.pid, signal.SIGTERM)
        require(job.process.wait(TRAIN_S) == 75, job.told("not stopped"))
        require(not job.ranks(), "ranks are left")
        require("start 1 ended with status 75" in log(folder), log(folder))

    def refused(self, folder):
        job = self.start(folder, "--batch", "-3")
        require(job.process.wait(TRAIN_S) == 64, job.told("another status than 64"))
        require("start 2" not in log(folder), log(folder))


def make_cases(top, nranks):
    training = Training(top, nranks)
    fruitful = "[ $n = 4 ] || { " + SNAPSHOT + "exit 1; }"
    return [
        ("done", case("exit 0", 0, 1, "start 1, with no snapshot: sh ./job.sh",
                      "newest snapshot: none", " done")),
        ("goes on", case(fruitful, 0, 4, "start 4, from snapshot-000003-step-3",
                         options=["--tries", 1])),
        ("bounded", case(SNAPSHOT + "exit 9", 9, 3, "given up after 2 restarts",
                         options=["--max", 2])),
        ("no progress", case("exit 1", 1, 2, "2 starts in a row", options=["--tries", 2])),
        ("killed", case("[ $n = 2 ] || kill -KILL $$", 0, 2, "status 137 (SIGKILL)")),
        ("refused", case("exit 64", 64, 1, "would be refused again")),
        ("no program", case("exec nosuch", 127, 1, "no such program")),
        ("requeue", case("[ $n = 2 ] || exit 75", 0, 2, options=["--delay", 1000])),
        ("orphans", orphans),
        *((f"{signal.Signals(n).name}", stopped_by(n)) for n in (
            signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)),
        ("stopped between two starts", stopped_between),
        ("second signal", deaf),
        ("killed itself", killed_itself),
        ("wrong words", wrong_words),
        ("dml-cnn killed", training.killed),
        ("dml-cnn stopped", training.stopped),
        ("dml-cnn refused", training.refused),
    ]


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup's would be inherited
    sys.exit(main(make_cases))
