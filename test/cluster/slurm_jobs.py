#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The batch scripts of apps/slurm, submitted to a Slurm of four nodes: they run by srun
and by mpirun, as arrays, and say what fails; a job that is warned of its time limit, and
then requeued by hand, or that loses a node, ends with the bits of one that ran through.
Usage: slurm_jobs.py SOURCE PROGRAM... (dml-cnn first, all in one folder)
"""

import concurrent.futures
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time

import cluster
import slurm

sys.path.insert(0, os.path.join(cluster.HERE, "../apps"))
import jobs  # noqa: E402

HOSTS, CPUS, GPUS = 4, 16, 2
NODES = 2         # of a job
PER_NODE = min(2, os.cpu_count())  # ranks: mpirun binds each to a core
RANKS = NODES * PER_NODE
SPARE = "h2,h3"   # of which one is to be lost
JOB_S = 120       # a job, on a loaded machine
WARNING_S = 60    # Slurm looks at time limits every 30 s
REQUEUE = 75
# What each application writes beside its report, in its folder.
RESULTS = {"cnn": "net.model", "cnn-gpu": "net.model", "crf": "model.crf",
           "prf": "forest.dml", "skew": "sort.0"}
EXTRA = {"cnn": "", "cnn-gpu": "--kernels plain", "crf": "--max-iterations 10",
         "prf": "--test-every 5", "skew": ""}
SIZES = {"EPOCHS": "24", "BATCH_PER_RANK": "4", "EVERY": "5", "TREES": "8",
         "DML_REPRODUCIBLE": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1",
         "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1"}
# The fake device is slow.
OWN_SIZES = {"cnn-gpu": {"DML_GPU": f"fake:{GPUS}", "DML_LOG": "info", "NET": "small",
                         "EPOCHS": "4"}}


def make_data(folder):
    """{application: what its script gets as DATA}"""
    rng = random.Random(1)
    jobs.make_idx(os.path.join(folder, "cnn"))
    os.mkdir(os.path.join(folder, "crf"))
    for part in "train", "test":
        words = [f"w{rng.randrange(9)}" for _ in range(400)]
        lines = [f"{word} {'A' if word < 'w4' else 'B'}\n" + "\n" * (i % 7 == 6)
                 for i, word in enumerate(words)]
        jobs.put(os.path.join(folder, "crf", part + ".txt"), "".join(lines).encode())
    rows = [(rng.random(), rng.random()) for _ in range(300)]
    table = "a,b,y\n" + "".join(f"{a},{b},{int(a > b)}\n" for a, b in rows)
    jobs.put(os.path.join(folder, "prf.csv"), table.encode())
    lines = "".join(f"k{rng.randrange(50)}\t{i}\n" for i in range(500))
    jobs.put(os.path.join(folder, "skew.tsv"), lines.encode())
    return {app: os.path.join(folder, name) for app, name in (
        ("cnn", "cnn"), ("cnn-gpu", "cnn"), ("crf", "crf"), ("prf", "prf.csv"), ("skew", "skew.tsv"))}


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Cases:
    def __init__(self, here, folder, source, programs):
        self.slurm, self.folder, self.source = here, folder, source
        self.programs = {os.path.basename(path)[len("dml-"):]: path for path in programs}
        self.programs["cnn-gpu"] = self.programs["cnn"]
        self.data = make_data(folder)
        self.apps = {}   # of each job
        self.whole = {}

    # ---- jobs --------------------------------------------------------------------------

    def submit(self, app, *options, **env):
        """The number of a job."""
        build = os.path.dirname(os.path.dirname(self.programs[app]))
        words = {"SOURCE": self.source, "BUILD": build, "DATA": self.data[app],
                 "EXTRA": EXTRA[app], **SIZES, **OWN_SIZES.get(app, {}), **env}
        if not any(word.startswith("--exclude=") for word in options):
            options += (f"--exclude={SPARE}",)
        job = self.slurm.run(
            "sbatch", "--parsable", f"--nodes={NODES}", f"--ntasks-per-node={PER_NODE}",
            "--cpus-per-task=1", "--time=10", *options,
            os.path.join(self.source, "apps/slurm", app + ".sbatch"),
            cwd=self.folder, env=words).strip()
        self.apps[job] = app
        return job

    def warn(self, job):
        """What Slurm does ahead of the time limit (requeued() waits for that)."""
        self.slurm.run("scancel", "--batch", "--signal=USR1", job)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def log(self, app, job):
        path = self.path(f"dml-{app}-{job}.log")
        return jobs.get(path).decode("utf-8", "replace") if os.path.exists(path) else ""

    def ends(self, app, job, state, status):
        """The job's log, when it has ended as it should."""
        shown = self.slurm.wait(job, JOB_S)
        found = shown["JobState"], shown["ExitCode"]
        log = self.log(app, shown["JobId"])
        cluster.require(found == (state, status),
                        f"dml-{app} is {found}, not {(state, status)}:\n{log[-4000:]}")
        return log

    def has(self, app, job, *texts, status, state="FAILED"):
        log = self.ends(app, job, state, status)
        for text in texts:
            cluster.require(text in log, f"\"{text}\" is not in the log:\n{log[-4000:]}")

    def result(self, app, folder, seed=1):
        """The bytes of what a finished job wrote."""
        with open(self.path(folder, "report.json"), encoding="utf-8") as file:
            report = json.load(file)
        want = {"ranks": RANKS, "seed": seed}
        found = {key: report.get(key) for key in want}
        cluster.require(found == want, f"{folder}: the report has {found}, not {want}")
        result = jobs.get(self.path(folder, RESULTS[app]))
        cluster.require(result, f"{folder}: {RESULTS[app]} is empty")
        return result

    def same_result(self, app, folder):
        """All jobs of one script with one seed end with the bits of the first."""
        found = self.result(app, folder)
        cluster.require(found == self.whole.setdefault(app, found),
                        f"{folder}: other bits than those of the first job")

    # ---- cases -------------------------------------------------------------------------

    def launched(self, launcher):
        """All scripts at once."""
        started = {app: self.submit(app, LAUNCH=launcher) for app in self.programs}
        for app, job in started.items():
            log = self.ends(app, job, "COMPLETED", "0:0")
            cluster.require("done: " in log, log)
            self.same_result(app, f"dml-{app}-{job}")
            if app == "cnn-gpu":
                self.took_gpus(log)

    @staticmethod
    def took_gpus(log):
        """A job's nodes have all of their GPUs, and each rank of a node took its own."""
        for text, count in [(" with GPUs 0,1\n", NODES)] + [
                (f"dml: GPU {i} of kind fake\n", NODES) for i in range(PER_NODE)]:
            cluster.require(log.count(text) == count, f"not {count} of {text}:\n{log}")

    def array(self):
        job = self.submit("prf", "--array=1-3")
        for seed in 1, 2, 3:
            self.ends("prf", f"{job}_{seed}", "COMPLETED", "0:0")
        forests = {self.result("prf", f"dml-prf-{job}/seed-{seed}", seed)
                   for seed in (1, 2, 3)}
        cluster.require(len(forests) == 3, "two seeds gave the same forest")

    def failures(self):
        """Each is FAILED, and its log says why."""
        for env, status, text in (
                ({"DATA": "/absent"}, "1:0", "dml-cnn: no idx, CIFAR-10 or record files"),
                ({"LAUNCH": "ssh"}, "1:0", "LAUNCH is srun or mpirun, not ssh"),
                ({"SOURCE": "/absent"}, "1:0", "/absent/apps/slurm/job.sh"),
                ({"MPI": "pmi2"}, "1:0", "OMPI was not built with SLURM's PMI support")):
            self.has("cnn", self.submit("cnn", **env), text, status=status)

    # ---- jobs that are stopped ---------------------------------------------------------

    def ranks(self, job):
        found = []
        for pid in sum((self.slurm.hosts.pids(f"h{i}", self.programs["cnn"])
                        for i in range(HOSTS)), []):
            with contextlib.suppress(OSError):
                if f"SLURM_JOB_ID={job}".encode() in jobs.get(
                        f"/proc/{pid}/environ").split(b"\0"):
                    found.append(pid)
        return found

    def thaw(self, job):
        signal_all(self.ranks(job), signal.SIGCONT)

    def snapshots(self, job):
        path = self.path(f"dml-{self.apps[job]}-{job}", "snapshots")
        names = os.listdir(path) if os.path.isdir(path) else []
        return {name for name in names if name.startswith("snapshot-")}

    def freeze(self, job):
        """Stops the ranks when they have written one more snapshot: what is done next
        finds the job under way, however fast or slow the machine is."""
        before, ranks = self.snapshots(job), []

        def all_there():
            ranks[:] = self.ranks(job)
            return len(ranks) == RANKS
        self.slurm.await_(all_there, f"the ranks of job {job}", JOB_S)
        self.slurm.await_(lambda: self.snapshots(job) - before,
                          f"a snapshot of job {job}", JOB_S)
        signal_all(ranks, signal.SIGSTOP)

    def says(self, job, text, limit_s=JOB_S):
        self.slurm.await_(lambda: text in self.log(self.apps[job], job), f"\"{text}\"",
                          limit_s)

    def requeued(self):
        """A job whose time limit is as far away as the script's own warning: it writes a
        snapshot, and requeues itself. Then it gets more time, so that it is not warned
        again, and is requeued by hand. Its folder."""
        job = self.submit("cnn", "--time=2")
        self.freeze(job)
        self.says(job, "warned by SIGUSR1", WARNING_S)
        self.slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")
        self.thaw(job)
        self.says(job, "goes on after step")
        self.freeze(job)
        self.slurm.run("scontrol", "requeue", job)
        log = self.ends("cnn", job, "COMPLETED", "0:0")
        restarts = self.slurm.show(job)["Restarts"]
        cluster.require(restarts == "2", f"{restarts} restarts, not 2:\n{log}")
        for text, count in (("stopped by a signal after step", 2),
                            ("requeued, to go on from the newest snapshot", 1),
                            ("stopped before the end, by Slurm", 1),
                            ("goes on after step", 2)):
            cluster.require(log.count(text) == count, f"not {count} of \"{text}\":\n{log}")
        return f"dml-cnn-{job}"

    def requeued_with_gpus(self):
        """Warned once, by hand. Its folder."""
        job = self.submit("cnn-gpu")
        self.freeze(job)
        self.warn(job)
        self.says(job, "is warned")
        self.thaw(job)
        log = self.ends("cnn-gpu", job, "COMPLETED", "0:0")
        for text in ("stopped by a signal after step", "goes on after step", "start 2"):
            cluster.require(text in log, f"\"{text}\" is not in the log:\n{log}")
        return f"dml-cnn-gpu-{job}"

    def given_up(self):
        job = self.submit("cnn", RESTARTS="0")
        self.freeze(job)
        self.warn(job)
        self.says(job, "is warned")
        self.thaw(job)
        self.has("cnn", job, "given up after 0 restarts", f"OUT={self.folder}/dml-cnn-{job}",
                 status=f"{REQUEUE}:0")

    def warned_early(self):
        """Before the program is ready for it: that is no failure."""
        program = self.path("fake", "apps", "dml-cnn")
        os.makedirs(os.path.dirname(program))
        jobs.put(program, b"#!/bin/sh\necho begun\nexec sleep 100\n")
        os.chmod(program, 0o755)
        job = self.submit("cnn", BUILD=self.path("fake"), RESTARTS="0")
        self.says(job, "begun")
        self.warn(job)
        self.has("cnn", job, "given up after 0 restarts", status="138:0")

    def requeued_too_often(self):
        job = self.submit("cnn", RESTARTS="0")
        self.freeze(job)
        self.slurm.run("scontrol", "requeue", job)
        self.has("cnn", job, "given up: restarted 1 times", status="1:0")

    def node_lost(self):
        """Slurm notices, and starts the job again on two of the nodes that are left. Its
        folder."""
        job = self.submit("cnn", "--exclude=h0")
        self.freeze(job)
        listed = self.slurm.run("scontrol", "show", "hostnames",
                                self.slurm.show(job)["NodeList"]).split()
        self.slurm.crash(listed[1])  # the script runs on the first
        self.thaw(job)
        log = self.ends("cnn", job, "COMPLETED", "0:0")
        cluster.require("start 2" in log and "goes on after step" in log, log)
        return f"dml-cnn-{job}"

    def killed(self):
        """A job that fails is not requeued; one with its folder goes on from there."""
        job = self.submit("cnn")
        self.freeze(job)
        os.kill(self.ranks(job)[0], signal.SIGKILL)
        self.thaw(job)
        # That of srun, or of libdml, which may be first to notice.
        status = self.slurm.wait(job, JOB_S)["ExitCode"]
        cluster.require(status in ("137:0", "1:0"), f"{status} of a killed job")
        self.has("cnn", job, "failed with status", status=status)
        folder = f"dml-cnn-{job}"
        again = self.submit("cnn", OUT=self.path(folder))
        log = self.ends("cnn", again, "COMPLETED", "0:0")
        cluster.require("goes on after step" in log, log)
        self.same_result("cnn", folder)

    def cancelled(self):
        """It writes a snapshot, and does not come back."""
        job = self.submit("cnn", LAUNCH="mpirun")
        self.freeze(job)
        self.slurm.run("scancel", job)
        self.has("cnn", job, "stopped before the end, by Slurm", state="CANCELLED",
                 status=self.slurm.wait(job, JOB_S)["ExitCode"])
        restarts = self.slurm.show(job)["Restarts"]
        cluster.require(restarts == "0", f"{restarts} restarts of a cancelled job")


def main():
    why = slurm.private() or cluster.unavailable()
    if why:
        return cluster.skip(why, "batch scripts under Slurm")
    with concurrent.futures.ThreadPoolExecutor(4) as beside, \
            tempfile.TemporaryDirectory(prefix="dml-slurm-jobs-") as folder, \
            slurm.running(HOSTS, CPUS, GPUS) as here:
        cases = Cases(here, folder, cluster.argument(1),
                      [os.path.realpath(path) for path in sys.argv[2:]])
        requeued = beside.submit(cases.requeued)  # these wait most of the time
        lost = beside.submit(cases.node_lost)
        too_often = beside.submit(cases.requeued_too_often)
        with_gpus = beside.submit(cases.requeued_with_gpus)
        return cluster.run([
            ("every script, by srun", lambda: cases.launched("srun")),
            ("every script, by mpirun", lambda: cases.launched("mpirun")),
            ("an array of seeds", cases.array),
            ("failures are said", cases.failures),
            ("given up", cases.given_up),
            ("warned early", cases.warned_early),
            ("cancelled", cases.cancelled),
            ("killed, and submitted again", cases.killed),
            ("requeued too often", too_often.result),
            ("requeued by a warning and by hand: the same bits",
             lambda: cases.same_result("cnn", requeued.result())),
            ("requeued with GPUs: the same bits",
             lambda: cases.same_result("cnn-gpu", with_gpus.result())),
            ("a node is lost: the same bits",
             lambda: cases.same_result("cnn", lost.result())),
        ])


if __name__ == "__main__":
    sys.exit(main())
