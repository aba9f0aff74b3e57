#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""--metrics, --log-json and dml-top: what a job tells of itself while it runs. What goes
wrong there: metrics_faults.py.

Usage: metrics.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
dml-top is looked for beside the program. Sanitized builds run the cases marked "*".
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from jobs import IMAGES, Job, LIMIT_S, Skip, TRAIN_S, main, make_idx, mpirun, put, require
from metrics_file import Metrics, close_to, events_of, read, top

# ---- applications ----------------------------------------------------------------------

class Cnn:
    def __init__(self, top_folder):
        self.data = os.path.join(top_folder, "idx")
        make_idx(self.data)

    def words(self, *options, epochs=3):
        return ["train", "--data", self.data, "--epochs", epochs, "--batch", 24,
                "--threads", 1, "--lr", 0.02, *options]

    @staticmethod
    def check(metrics, report):
        steps = 3 * IMAGES // 24
        require(report["steps"] == steps and metrics.job("dml_planned_steps") == steps,
                "steps of the report")
        require(close_to(metrics.job("dml_loss"), report["train_loss"]), "loss")
        require(close_to(metrics.job("dml_test_value"), report["test_value"]), "test")
        require(metrics.job("dml_samples_total") == 3 * IMAGES, "samples")
        require(metrics.job("dml_epoch") == 3, "epochs")
        require(metrics.job("dml_learning_rate") >= 0, "rate")
        return steps


class Crf:
    def __init__(self, top_folder):
        from crf import make_data  # noqa: its data are of the other test
        self.data = make_data(os.path.join(top_folder, "data"))

    def words(self, *options, epochs=None):
        return ["train", "--data", self.data, "--threads", 1, "--max-iterations",
                10 * (epochs or 1), "--delta", 0, "--epsilon", 0, *options]

    @staticmethod
    def check(metrics, report):
        require(close_to(metrics.job("dml_loss"), report["objective"]), "objective")
        require(close_to(metrics.job("dml_test_value"), report["dev_value"]), "dev set")
        return report["iterations"]


class Prf:
    def __init__(self, top_folder):
        from prf import write_table  # noqa
        self.data = os.path.join(top_folder, "t.csv")
        write_table(self.data, 600, noise=0.2)

    def words(self, *options, epochs=None):
        return ["train", "--data", self.data, "--trees", 30 * (epochs or 1), "--threads",
                1, *options]

    @staticmethod
    def check(metrics, report):
        require(metrics.job("dml_planned_steps") == report["trees"] == 30, "trees")
        require(close_to(metrics.job("dml_test_value"), report["oob_value"]), "oob")
        return report["trees"]


# ---- cases -----------------------------------------------------------------------------

class Cases:
    def __init__(self, app, nranks):
        self.app, self.nranks = app, nranks

    def start(self, folder, *options, env=None, **more):
        return Job([Job.launcher, "-n", self.nranks, Job.program,
                    *self.app.words("--quiet", "--metrics", "m.prom", *options, **more)],
                   folder, env)

    def figures(self, folder):
        mpirun(folder, self.nranks,
               *self.app.words("--metrics", "m.prom", "--log-json", "log.jsonl",
                               "--report", "r.json"))
        report = json.loads(read(os.path.join(folder, "r.json")))
        metrics = Metrics(os.path.join(folder, "m.prom"))
        steps = self.app.check(metrics, report)
        everyone = set(range(self.nranks))
        require(set(os.listdir(folder)) >= {"m.prom", "log.jsonl", "r.json"} and
                len(os.listdir(folder)) == 3, f"files {os.listdir(folder)}")
        require(metrics.state() == "finished", f"state {metrics.state()}")
        require(metrics.job("dml_ranks") == self.nranks, "ranks")
        require(metrics.ranks("dml_steps_total") == {r: steps for r in everyone},
                f"steps {metrics.ranks('dml_steps_total')}, {steps} in the report")
        sent = metrics.ranks("dml_sent_bytes_total")
        require(set(sent) == everyone and sum(sent.values()) == report["bytes_sent"],
                f"bytes {sent}, {report['bytes_sent']} in the report")
        require(set(metrics.ranks("dml_received_bytes_total")) == everyone, "received")
        for rank, ratio in metrics.ranks("dml_wait_ratio").items():
            require(0 <= ratio <= 1, f"rank {rank} waits {ratio}")
        for rank, peak in metrics.ranks("dml_peak_resident_bytes").items():
            require(1 << 20 < peak <= report["peak_rss_bytes"], f"peak of {rank}: {peak}")
        require(all(value == 0 for value in metrics.ranks("dml_process_stopped").values()),
                "a process is stopped")
        self.log(folder, report, steps)
        status, shown, told = top("--once", os.path.join(folder, "m.prom"))
        require(status == 0 and not told, f"dml-top: {status}, {told}")
        require(f"finished, step {steps}" in shown and "\033" not in shown, shown)
        require(len(shown.splitlines()) == 3 + self.nranks, shown)

    def log(self, folder, report, steps):
        events = events_of(read(os.path.join(folder, "log.jsonl")))
        first, last = events[0], events[-1]
        require(first["event"] == "start" and first["app"] == report["app"] and
                first["ranks"] == self.nranks and first["options"]["threads"] == 1 and
                first["options"]["report"] == "r.json" and first["version"],
                f"start: {first}")
        require(last["event"] == "end" and last["state"] == "finished" and
                last["step"] == steps, f"end: {last}")
        done = [event["step"] for event in events if event["event"] in ("step", "epoch")]
        require(done and done == sorted(done) and done[-1] == steps, f"steps {done}")

    def same_bits(self, folder):
        """Who watches changes nothing."""
        models = []
        for name, more in ("a", []), ("b", ["--metrics", "m.prom", "--metrics-every", 0.05,
                                            "--log-json", "l"]):
            mpirun(folder, self.nranks, *self.app.words("--model", name, *more),
                   env={"DML_REPRODUCIBLE": "1"})
            with open(os.path.join(folder, name), "rb") as file:
                models.append(file.read())
        require(models[0] == models[1], "the models differ")

    def appended(self, folder):
        """A log goes on where the last job's ended; options may be left out."""
        for options in ["--log-json", "log"], ["--log-json=log"]:
            mpirun(folder, self.nranks, *self.app.words(*options, epochs=1))
        names = [event["event"] for event in events_of(read(os.path.join(folder, "log")))]
        require(names.count("start") == 2 and names[-1] == "end", f"events {names}")

    def to_stdout(self, folder):
        for options in ["--log-json"], ["--log-json", "-"], ["--log-json=-"]:
            events = events_of(mpirun(folder, self.nranks,
                                      *self.app.words(*options, epochs=1)))
            require(events[0]["event"] == "start" and events[-1]["event"] == "end",
                    f"{options}: {events}")

    # ---- while it runs

    def until(self, job, what, limit_s=TRAIN_S):
        """what()'s first result that is true."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            require(job.process.poll() is None, job.told("the job has ended"))
            found = what()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError("never seen")

    def begun(self, folder, job):
        path = os.path.join(folder, "m.prom")
        self.until(job, lambda: os.path.exists(path) and
                   min(Metrics(path).ranks("dml_steps_total").values(), default=0) > 1)
        return path

    def rank_pid(self, job, rank):
        """Its process, by what the launcher told it."""
        for pid in job.ranks():
            with open(f"/proc/{pid}/environ", "rb") as file:
                words = file.read().split(b"\0")
            if any(word in words for word in (b"OMPI_COMM_WORLD_RANK=%d" % rank,
                                              b"PMI_RANK=%d" % rank)):
                return pid
        raise Skip("this launcher does not tell its ranks' numbers")

    def stop(self, job, *ranks):
        for rank in ranks:
            os.kill(self.rank_pid(job, rank), signal.SIGTERM)

    def whole(self, folder):
        """A reader in a loop never sees half a file."""
        job = self.start(folder, "--metrics-every", 0.05, epochs=2000)
        path = self.begun(folder, job)
        seen, waits, end = set(), set(), time.monotonic() + 4
        while time.monotonic() < end:
            metrics = Metrics(path)
            seen.add(metrics.job("dml_metrics_timestamp_seconds"))
            waits |= set(metrics.ranks("dml_wait_ratio").values())
        require(len(seen) > 8, f"{len(seen)} versions in 4 s")
        require(metrics.state() == "running" and 0 < metrics.job("dml_progress_ratio") < 1
                and metrics.job("dml_remaining_seconds") > 0, "progress")
        require(all(0 <= ratio <= 1 for ratio in waits), f"waits {waits}")
        job.kill()

    def stopped(self, folder):
        """A rank that is stopped is the one that the others wait for."""
        if self.nranks == 1:
            raise Skip("one rank waits for nobody")
        job = self.start(folder, "--metrics-every", 0.1, epochs=2000)
        path, last = self.begun(folder, job), self.nranks - 1
        pid = self.rank_pid(job, last)
        os.kill(pid, signal.SIGSTOP)

        def seen():
            status, shown, told = top("--once", path)
            require(status == 0, told)
            lines = shown.splitlines()
            return lines if "for it, up to 1." in shown else None
        lines = self.until(job, seen)
        require(re.match(rf" +{last} .*STOPPED in operation \d+; {last} rank", lines[3]),
                f"it is not the first: {lines}")
        waiting = [line for line in lines[4:]
                   if re.search(rf"waits .* in \w+ \d+ for rank {last}$", line)]
        require(len(waiting) == last, f"who waits for it: {lines}")
        metrics = Metrics(path)
        require(metrics.ranks("dml_process_stopped")[last] == 1, "it is not stopped")
        require(metrics.ranks("dml_wait_ratio")[0] > 0.5, "the wait in progress counts")
        os.kill(pid, signal.SIGCONT)
        self.until(job, lambda: "STOPPED" not in top("--once", path)[1])
        job.kill()

    def writer_stopped(self, folder):
        """Its file is not rewritten, and that is shown."""
        job = self.start(folder, "--metrics-every", 0.1, epochs=2000)
        path = self.begun(folder, job)
        require("NOT REWRITTEN" not in top("--once", path)[1], "it is fresh")
        os.kill(self.rank_pid(job, 0) if self.nranks > 1 else job.ranks()[0],
                signal.SIGSTOP)
        self.until(job, lambda: "NOT REWRITTEN" in top("--once", path)[1])
        job.kill()

    def nodes(self, folder):
        """Each node writes its own file; dml-top puts them together."""
        if self.nranks == 1:
            raise Skip("one rank is one node")
        env = {"DML_NODES": ",".join(str(rank) for rank in range(self.nranks))}
        mpirun(folder, self.nranks, *self.app.words("--metrics", "a.prom"), env=env)
        names = ["a.prom"] + [f"a-{rank}.prom" for rank in range(1, self.nranks)]
        require(sorted(os.listdir(folder)) == sorted(names), f"{os.listdir(folder)}")
        paths = [os.path.join(folder, name) for name in names]
        for rank, path in enumerate(paths):
            metrics = Metrics(path)
            require(set(metrics.ranks("dml_steps_total")) == {rank}, f"ranks in {path}")
            require((metrics.job("dml_loss") is None) == (rank > 0), f"loss in {path}")
        for given in paths, paths[::-1]:
            status, shown, told = top("--once", *given)
            require(status == 0 and not told, told)
            require(len(shown.splitlines()) == 3 + self.nranks, shown)

    def snapshots(self, folder):
        """Their number and age; and the job that a signal stops."""
        job = self.start(folder, "--metrics-every", 0.1, "--log-json", "log",
                         "--checkpoint", "run", "--checkpoint-every", 10, epochs=2000)
        path = self.begun(folder, job)
        self.until(job, lambda: (Metrics(path).job("dml_checkpoints_total") or 0) > 1)
        require(0 <= Metrics(path).job("dml_checkpoint_age_seconds") < 60, "age")
        require(" ago" in top("--once", path)[1].splitlines()[1], "age in dml-top")
        os.kill(job.ranks()[0], signal.SIGUSR1)
        require(job.end(TRAIN_S) in (75, 1), job.told("status"))
        events = events_of(read(os.path.join(folder, "log")))
        require(sum(event["event"] == "snapshot" for event in events) > 1 and
                events[-1]["state"] == "stopped", f"{events[-1]}")
        require(Metrics(path).state() == "stopped", "state")

    def terminal(self, folder):
        """On a terminal: colours unless unwanted, lines within its width, and an end."""
        good = os.path.join(folder, "good")
        put(good, b'dml_ranks{app="a",run="b"} 1\ndml_steps_total{app="a",run="b",rank="0"'
            b',host="n"} 1\ndml_process_stopped{app="a",run="b",rank="0",host="n"} 1\n')
        program = os.path.join(os.path.dirname(Job.program), "dml-top")
        if not shutil.which("script"):
            raise Skip("script, which makes a terminal, is not there")
        for env, colored in ({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"},
                                                        False), ({"TERM": "dumb"}, False):
            done = subprocess.run(
                ["script", "-qec", f"stty cols 70 rows 12; timeout -s INT 1 {program} "
                 f"--interval 0.2 {good}", "/dev/null"], capture_output=True,
                timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL,
                env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, **env})
            shown = done.stdout.decode()
            require(("\033[1;31m" in shown) == colored, f"{env}: {shown!r}")
            require(shown.rstrip().endswith("\033[?25h"), f"the cursor is gone: {shown!r}")
            shown = shown.replace("\033[H", "\n")
            plain = re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", shown)
            require(max(map(len, plain.splitlines())) <= 70, f"too wide: {plain!r}")


def make_cases(top_folder, nranks):
    name = os.path.basename(Job.program)
    app = {"dml-cnn": Cnn, "dml-crf": Crf, "dml-prf": Prf}[name](top_folder)
    cases = Cases(app, nranks)
    found = [("* figures", cases.figures), ("* to standard output", cases.to_stdout),
             ("same bits", cases.same_bits)]
    if name != "dml-cnn":
        return found
    found += [("appended", cases.appended), ("* whole", cases.whole),
              ("* stopped", cases.stopped), ("the writer is stopped", cases.writer_stopped),
              ("* nodes", cases.nodes), ("* snapshots", cases.snapshots)]
    if nranks == 1:
        found.append(("terminal", cases.terminal))
    return found


if __name__ == "__main__":
    sys.exit(main(make_cases))
