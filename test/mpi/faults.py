#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ranks that disagree, are missing, late, stopped or dead: every other rank gets an error
that names them, one rank alone prints the report, and the job ends.

Arguments: LAUNCHER FAULT-PROGRAM NRANKS [part of a case's name]. The program (fault.c)
makes the mistake on its last rank in operation 6.
"""

import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../apps"))
from jobs import LIMIT_S, Job, Skip, main, require  # noqa: E402

TIMEOUT_S = 0.5
SCHEDULES = {"ALLREDUCE": "ring", "BCAST": "binomial", "REDUCE": "binomial",
             "ALLGATHER": "ring", "REDUCE_SCATTER": "ring", "ALLTOALL": "pairwise",
             "BARRIER": "dissemination"}
TASKS = dict.fromkeys(SCHEDULES, "flat")
# What carries the collectives: all of this on one machine.
TRANSPORTS = {
    "tasks": TASKS,
    "shared": {**TASKS, "ALLREDUCE": "shared"},
    "channels": SCHEDULES,
    "messages": {**SCHEDULES, "SHM": "0"},
    "nodes": {**SCHEDULES, "NODES": "2"},
    "mpi": dict.fromkeys(SCHEDULES, "mpi"),
    "mpi-messages": {**dict.fromkeys(SCHEDULES, "mpi"), "SHM": "0"},
    "auto": {"MEASURE": "1"},
    "auto-nodes": {"MEASURE": "1", "NODES": "2"},
}
# What the error says of the wrong call.
WRONG = {"count": "101 f32", "dtype": "100 i32", "op": "(prod)", "root": "root 1",
         "collective": "barrier", "counts": "counts [", "missing": "101 f32",
         "in_place": "in place", "algorithm": "by direct", "unmeasured": "measures"}


# Why a call is refused that is not an ordinary collective.
REFUSED = {"split": "out is NULL", "query": "choice is NULL", "coll_init": "args is NULL",
           "slot": "recv is NULL on rank"}


class Run:
    """A job with a fault, as it ended."""

    def __init__(self, folder, nranks, fault, transport, collective="allreduce",
                 how="blocking", options=(), timeout_s=TIMEOUT_S, while_running=None,
                 more=None):
        variables = {"MEASURE": "0", **TRANSPORTS[transport], **(more or {})}
        env = {"DML_" + name: value for name, value in variables.items()}
        env["DML_TIMEOUT_S"] = str(timeout_s)
        self.culprit = nranks - 1
        self.job = Job([Job.launcher, *options, "-n", nranks, Job.program, fault,
                        collective, how], folder, env)
        if while_running:
            while_running(self)
        self.status = self.job.end(LIMIT_S)
        out, err = Job.text(self.job.out), Job.text(self.job.err)
        self.told = dict(re.findall(r"^rank (\d+): (DML_.*)$", out, re.M))
        self.told = {int(rank): text for rank, text in self.told.items()}
        self.logged = re.findall(r"^dml: (.*)$", err, re.M)
        left = self.job.left_behind()
        require(not left, self.job.told(f"ranks left behind: {left}"))

    def need(self, condition, what):
        if not condition:
            require(False, self.job.told(
                what + "\n  " + "\n  ".join(Job.text(self.job.out).splitlines())))

    def tells(self, ranks, status, *words):
        """These ranks got this error; with "mpi" some print it and end instead."""
        self.need(self.status != 0, "exit status 0 after a failure")
        for rank in ranks:
            self.need(rank in self.told, f"rank {rank} says nothing")
        for rank, text in self.told.items():
            if rank not in ranks and rank == self.culprit:
                continue
            self.need(text.startswith(status + ":"), f"rank {rank} has another error")
            for word in words:
                self.need(word in text, f"rank {rank} does not say \"{word}\"")
        self.need(self.told or self.logged, "nobody says anything")
        for line in self.logged:
            if "roll call" not in line and not line.startswith(" "):
                for word in words:
                    self.need(word in line, f"the log does not say \"{word}\"")

    def process(self, rank, limit_s=LIMIT_S):
        """Process id of a rank, which it prints at its start."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            found = re.search(rf"^rank {rank} is process (\d+)$", Job.text(self.job.out),
                              re.M)
            if found:
                return int(found.group(1))
            time.sleep(0.01)
        require(False, self.job.told(f"rank {rank} did not start"))
        return 0


def state(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


class Cases:
    def __init__(self, nranks):
        self.nranks = nranks
        self.culprit = nranks - 1
        self.all = list(range(nranks))
        self.others = self.all[:-1]

    def named(self, how):
        """How the culprit is called: a part has the ranks in reverse order."""
        return f"rank 0 (world rank {self.culprit}" if "part" in how \
            else f"rank {self.culprit}"

    def disagreement(self, folder, fault, transport, *how):
        run = Run(folder, self.nranks, fault, transport, *how)
        ranks = [] if transport.startswith("mpi") else self.all
        run.tells(ranks, "DML_EMISMATCH", "operation 6", self.named(how), WRONG[fault])

    def refusal(self, folder, transport, *how):
        run = Run(folder, self.nranks, "refused", transport, *how)
        ranks = [] if transport.startswith("mpi") else self.others
        run.tells(ranks, "DML_EMISMATCH", f"rank {self.culprit} refused its call",
                  REFUSED.get((*how, "")[0], "is NULL on rank"))
        run.need(run.told.get(self.culprit, "").startswith("DML_EINVAL"),
                 "the rank that refused has another error")

    def absence(self, folder, fault, transport, *how):
        run = Run(folder, self.nranks, fault, transport, *how)
        ranks = [] if transport.startswith("mpi") else self.others
        words = ["1 missing: " + self.named(how), "operation 6"]
        if fault == "stopped":
            words.append("its process is stopped")
        run.tells(ranks, "DML_ETIMEOUT", *words)
        reports = [line for line in run.logged if line.startswith("roll call")]
        run.need(len(reports) == 1, f"{len(reports)} reports")
        waited = float(re.search(r"no progress for ([\d.]+) s", run.logged[0]).group(1))
        run.need(TIMEOUT_S <= waited <= TIMEOUT_S + 2, f"reported after {waited} s")

    def unborn(self, folder):
        """A rank stops before it has a communicator: the others do not wait for ever.
        The first that ends may end the job before others, that started later, tell."""
        run = Run(folder, self.nranks, "unborn", "auto")
        run.tells([], "DML_ETIMEOUT", "dml_comm_from_mpi",
                  f"of {self.nranks} has waited 10 s for the others")

    def away(self, folder, fault, transport):
        """Who has a progress thread need not call libdml for a report."""
        run = Run(folder, self.nranks, fault, transport, how="busy",
                  more={"PROGRESS": "thread"})
        run.tells(self.others, "DML_ETIMEOUT", "1 missing: " + self.named(""))
        waited = float(re.search(r"no progress for ([\d.]+) s", run.logged[0]).group(1))
        run.need(waited <= TIMEOUT_S + 2, f"reported after {waited} s")
        for rank, text in re.findall(r"^rank (\d+) waited ([\d.]+) s$",
                                     Job.text(run.job.out), re.M):
            run.need(float(text) < 0.3, f"rank {rank} waited {text} s for the error")

    def one_thread(self, folder, fault, transport):
        """A blocking call of MPI is watched over by a thread that must not call MPI."""
        run = Run(folder, self.nranks, fault, transport, how="funneled")
        run.tells([], "DML_ETIMEOUT", "operation 6",
                  "cannot be asked" if "messages" in transport
                  else "1 missing: " + self.named(""))
        run.need("another thread" not in Job.text(run.job.out), "MPI is called by it")

    def silence(self, folder, transport):
        """A message that does not come."""
        run = Run(folder, self.nranks, "busy", transport, "message")
        run.tells(self.others, "DML_ETIMEOUT", "a message of 400 bytes",
                  f"from rank {self.culprit}, tag 7", f"1 missing: rank {self.culprit}")

    def death(self, folder, fault, transport):
        """The launcher is told to leave the others alone."""
        if "mpirun" not in Job.launcher:
            raise Skip("only Open MPI's launcher keeps a job whose rank has died")
        run = Run(folder, self.nranks, fault, transport, "allreduce", "blocking",
                  ["--enable-recovery"], 5)
        text = "\n".join([*run.told.values(), *run.logged])
        run.need(f"rank {self.culprit} (host" in text and "has ended" in text,
                 "nobody says who has ended")
        for rank, line in run.told.items():
            run.need("has ended" not in line or line.startswith("DML_EPEER:"),
                     f"rank {rank} has another error")

    def death_ends_the_job(self, folder):
        run = Run(folder, self.nranks, "dead", "tasks")
        run.need(run.status != 0, "exit status 0 after a rank was killed")

    def lateness(self, folder, transport):
        def wake(run):
            pid = run.process(self.culprit)
            end = time.monotonic() + LIMIT_S
            while state(pid) != "T" and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.5)
            os.kill(pid, signal.SIGCONT)
        run = Run(folder, self.nranks, "late", transport, timeout_s=4,
                  while_running=wake)
        run.need(run.status == 0 and not run.told and not run.logged,
                 "a rank that was late is no error")

    def nothing(self, folder, transport, *how):
        run = Run(folder, self.nranks, "none", transport, *how)
        run.need(run.status == 0 and not run.told and not run.logged, "an error")


def make_cases(_, nranks):
    cases, made = Cases(nranks), []

    def add(function, *words):
        name = " ".join([function.__name__, *words])
        made.append((name, lambda folder: function(folder, *words)))

    open_mpi = "mpirun" in Job.launcher
    many = nranks == 3 and open_mpi  # MPICH is slow where ranks outnumber processors
    for transport in TRANSPORTS:
        add(cases.nothing, transport)
        if transport.startswith("auto"):
            if many:
                add(cases.disagreement, "unmeasured", transport, "allgather")
            continue
        if open_mpi or transport != "mpi-messages":  # MPICH does not notice
            add(cases.disagreement, "count", transport)
        add(cases.absence, "stopped", transport)
        if not many:
            continue
        add(cases.disagreement, "collective", transport)
        add(cases.disagreement, "missing", transport)
        add(cases.absence, "busy", transport)
        add(cases.refusal, transport)
        if transport != "mpi-messages":  # found later there: see doc/hangs.md
            add(cases.disagreement, "dtype", transport)
            add(cases.disagreement, "op", transport)
        if not transport.startswith("mpi"):
            add(cases.disagreement, "root", transport, "bcast")
            add(cases.disagreement, "in_place", transport)
            add(cases.disagreement, "algorithm", transport)
            add(cases.disagreement, "counts", transport, "allgatherv")
            add(cases.lateness, transport)
            add(cases.death, "dead", transport)
    for transport in "mpi", "mpi-messages":
        add(cases.one_thread, "stopped", transport)
    for transport in "tasks", "channels", "nodes":
        add(cases.disagreement, "count", transport, "allreduce", "pending")
        add(cases.refusal, transport, "allreduce", "pending")
        add(cases.absence, "stopped", transport, "reduce", "pending")
        if many:
            add(cases.disagreement, "root", transport, "reduce", "pending")
            add(cases.disagreement, "count", transport, "alltoall", "part")
            add(cases.absence, "busy", transport, "reduce_scatter", "part")
        add(cases.silence, transport)
        for collective in REFUSED if many else ():
            add(cases.refusal, transport, collective)
        if open_mpi:
            add(cases.away, "stopped", transport)
    add(cases.unborn)
    add(cases.death, "gone", "tasks")
    add(cases.death_ends_the_job)
    return made


if __name__ == "__main__":
    sys.exit(main(make_cases))
