#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""--metrics, --log-json and dml-top: what a job tells of itself while it runs.

Files of metrics are read by a parser of its own, which is as strict as promtool's.
Usage: metrics.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
dml-top is looked for beside the program. Sanitized builds run the cases marked "*".
"""

import glob
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from jobs import (CLASSES, IMAGES, Job, LIMIT_S, Skip, TRAIN_S, fails, main, make_idx,
                  mpirun, put, require, without_banners)

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|NaN|[+-]Inf")
STATES = {"running", "finished", "stopped", "failed"}


# ---- the format ------------------------------------------------------------------------

def labels_of(text):
    labels, at = {}, 0
    while text and at < len(text):
        match = LABEL.match(text, at)
        require(match, f"no label: {text[at:]!r}")
        require(match[1] not in labels, f"label {match[1]} twice")
        labels[match[1]] = match[2]
        at = match.end()
        require(at == len(text) or text[at] == ",", f"no comma: {text!r}")
        at += at < len(text)
    return labels


def parse(text):
    """{(name, labels as sorted pairs): value}; Wrong where promtool would complain."""
    require(text.endswith("\n"), "the file is cut: no newline at its end")
    samples, types, helps, closed, current = {}, {}, set(), set(), None
    for line in text.splitlines():
        match = re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.*)", line)
        require(match or not line.startswith("#"), f"an odd comment: {line!r}")
        if not match:
            match = SAMPLE.fullmatch(line)
            require(match, f"no sample: {line!r}")
            name, value = match[1], match[3]
            require(name == current and name in types, f"{name} stands apart from its TYPE")
            require(NUMBER.fullmatch(value), f"no number: {line!r}")
            key = name, tuple(sorted(labels_of(match[2]).items()))
            require(key not in samples, f"twice: {line!r}")
            samples[key] = float(value.replace("Inf", "inf"))
            continue
        kind, name, rest = match.groups()
        if name != current:
            require(name not in closed, f"{name} is begun twice")
            closed.add(current)
            current = name
        if kind == "HELP":
            require(name not in helps, f"two HELP of {name}")
            helps.add(name)
            require(rest.endswith("."), f"HELP of {name} is no sentence")
        else:
            require(name in helps and name not in types, f"TYPE of {name} is misplaced")
            require(rest in ("counter", "gauge"), f"type {rest}")
            require((rest == "counter") == name.endswith("_total"), f"{name} is a {rest}")
            types[name] = rest
    require({name for name, _ in samples} == set(types), "a TYPE without a sample")
    return samples


class Metrics:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.samples = parse(file.read())

    def job(self, name):
        """The value of the whole job; None: there is none."""
        found = [value for (key, labels), value in self.samples.items()
                 if key == name and "rank" not in dict(labels)]
        require(len(found) < 2, f"{name} is there {len(found)} times")
        return found[0] if found else None

    def ranks(self, name):
        return {int(dict(labels)["rank"]): value
                for (key, labels), value in self.samples.items()
                if key == name and "rank" in dict(labels)}

    def state(self):
        states = {dict(labels)["state"]: value
                  for (key, labels), value in self.samples.items()
                  if key == "dml_run_state"}
        require(set(states) == STATES and sum(states.values()) == 1, f"states {states}")
        return max(states, key=states.get)


def events_of(text):
    events = [json.loads(line) for line in text.splitlines()]
    for event in events:
        require(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]),
                f"time {event['time']}")
    return events


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def close_to(a, b):
    return math.isclose(a, b, rel_tol=1e-8, abs_tol=1e-12)


def top(*words, env=None):
    """Exit status, standard output and standard error of dml-top."""
    program = os.path.join(os.path.dirname(Job.program), "dml-top")
    done = subprocess.run([program, *words], capture_output=True, timeout=LIMIT_S,
                          check=False, env=dict(os.environ, **(env or {})))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


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

# Path, and words of the line.
BAD = {
    "a folder": (".", ["Is a directory"]),
    "no folder": ("missing/m.prom", ["No such file or directory"]),
    "no permission": ("/proc/m.prom", ["cannot write /proc/m.prom"]),
    "a full disk": ("/dev/full", ["No space left on device"]),
}

GARBAGE = {
    "bytes": (b"\x7fELF\1\2\n", "line 1: no metric's name"),
    "zero": (b"dml_loss 1\ndml_\0loss 1\n", "line 2: there is a zero byte"),
    "cut": (b"dml_loss 1\ndml_lo", "line 2: the last line has no end: the file is cut"),
    "label": (b'dml_loss{run="a} 1\n', "line 1: a label's value does not end"),
    "escape": (b'dml_loss{run="\\x"} 1\n', "line 1: a label's value does not end"),
    "number": (b"dml_loss 0x10\n", "line 1: no number"),
    "more": (b"dml_loss 1 2 3\n", "line 1: something follows the number"),
    "labels": (b"a{" + b",".join(b'l%d="1"' % i for i in range(33)) + b"} 1\n",
               "line 1: too many labels"),
    "rank": (b'dml_steps_total{rank="99999999999"} 1\n', "line 1: a label \"rank\""),
    "type": (b"# TYPE a colour\n", "line 1: no type of a metric"),
    "jobs": (b"".join(b'dml_loss{run="%d"} 1\n' % i for i in range(70)),
             "line 64: too many jobs"),
}


def put_until_full(path):
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


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

    # ---- what goes wrong

    def bad_path(self, option, path, words):
        def case(folder):
            fails(folder, [Job.launcher, "-n", self.nranks, Job.program,
                           *self.app.words(option, path)], [option, *words])
        return case

    def pipe(self, folder):
        os.mkfifo(os.path.join(folder, "pipe"))
        for option in "--metrics", "--log-json":
            fails(folder, [Job.launcher, "-n", self.nranks, Job.program,
                           *self.app.words(option, "pipe")], ["pipe"])

    def same_path(self, folder):
        fails(folder, [Job.launcher, "-n", self.nranks, Job.program,
                       *self.app.words("--metrics", "x", "--report", "x")],
              ["would be overwritten"])

    def folder_goes(self, folder):
        """The job goes on without a place for its metrics: one line, and the log has it."""
        os.mkdir(os.path.join(folder, "sub"))
        job = Job([Job.launcher, "-n", self.nranks, Job.program,
                   *self.app.words("--quiet", "--metrics", "sub/m.prom",
                                   "--metrics-every", 0.05, "--log-json", "log",
                                   epochs=60)], folder)
        self.until(job, lambda: os.path.exists(os.path.join(folder, "sub", "m.prom")))
        shutil.rmtree(os.path.join(folder, "sub"), ignore_errors=True)
        shutil.rmtree(os.path.join(folder, "sub"), ignore_errors=True)
        require(job.end(TRAIN_S) == 0, job.told("the job fails"))
        lines = without_banners(job.text(job.err))
        require(len(lines) == 1 and "warning: --metrics: " in lines[0] and
                "the job goes on" in lines[0], job.told("one warning"))
        events = events_of(read(os.path.join(folder, "log")))
        require([event for event in events if event["event"] == "warning"] and
                events[-1]["event"] == "end", f"{events}")

    def full_disk(self, folder):
        """Nothing is torn by a disk that fills: whole files, and whole lines of the log."""
        disk = os.path.join(folder, "disk")
        os.mkdir(disk)
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", disk],
                               capture_output=True, check=False)
        if mount.returncode != 0:
            raise Skip("mounting a small disk needs rights")
        try:
            job = Job([Job.launcher, "-n", self.nranks, Job.program,
                       *self.app.words("--quiet", "--metrics", "disk/m.prom",
                                       "--metrics-every", 0.05, "--log-json", "disk/log",
                                       epochs=120)], folder)
            path = os.path.join(disk, "m.prom")
            self.until(job, lambda: os.path.exists(path))
            put_until_full(os.path.join(disk, "other"))
            require(job.end(TRAIN_S) == 0, job.told("a full disk ends the job"))
            Metrics(path)
            events_of(read(os.path.join(disk, "log")))
            lines = without_banners(job.text(job.err))
            require(lines and all("warning: --" in line and "No space left" in line
                                  for line in lines), job.told("other lines"))
            require(len(lines) < 20, job.told("a line for every try"))
        finally:
            subprocess.run(["umount", disk], check=True)

    def diverges(self, folder):
        """What fails is in the log, and the file says so."""
        job = self.start(folder, "--log-json", "log", "--lr", "1e6")
        require(job.end(TRAIN_S) == 1, job.told("it works"))
        events = events_of(read(os.path.join(folder, "log")))
        failure = [event for event in events if event["event"] == "failure"]
        require(len(failure) == 1 and failure[0]["status"] == "DML_ENUMERIC" and
                "training diverged" in failure[0]["text"], f"{events}")
        require(events[-1]["event"] == "end" and events[-1]["state"] == "failed",
                f"{events[-1]}")
        require(Metrics(os.path.join(folder, "m.prom")).state() == "failed", "state")

    def killed(self, folder):
        """The rest of the job is told of, as far as code can run."""
        if self.nranks == 1:
            raise Skip("nobody is left")
        job = self.start(folder, "--log-json", "log", epochs=2000)
        self.begun(folder, job)
        os.kill(self.rank_pid(job, self.nranks - 1), signal.SIGKILL)
        require(job.end(LIMIT_S) != 0, job.told("it works"))
        Metrics(os.path.join(folder, "m.prom"))
        events_of(read(os.path.join(folder, "log")))

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

    def garbage(self, folder):
        good = os.path.join(folder, "good")
        put(good, b'dml_ranks{app="a",run="b"} 1\nnode_load1 0.5 1795300000\n# any\n\n')
        require(top("--once", good)[0] == 0, "a good file")
        for name, (data, words) in GARBAGE.items():
            path = os.path.join(folder, name)
            put(path, data)
            status, shown, told = top("--once", good, path)
            require(status == 1 and told.startswith(f"dml-top: {path}: {words}") and
                    told.count("\n") == 1, f"{name}: {status} {told}")
            require(shown.startswith("a b: "), f"{name}: the good one is not shown")
        for path, words in ((folder, "this is no file"),
                            (os.path.join(folder, "none"), "No such file")):
            require(words in top("--once", path)[2], f"{path}")
        hostile = os.path.join(folder, "hostile")
        put(hostile, b'dml_ranks{app="\x1b[2J",run="\\n"} 1\n')
        require("\x1b" not in top("--once", hostile)[1], "a terminal would obey")
        require(top()[0] == 1 and top("--interval", "x", good)[0] == 1, "options")

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
              ("* nodes", cases.nodes), ("pipe", cases.pipe),
              ("same path", cases.same_path), ("* folder goes", cases.folder_goes),
              ("full disk", cases.full_disk),
              ("* diverges", cases.diverges), ("killed", cases.killed),
              ("* snapshots", cases.snapshots)]
    for option in "--metrics", "--log-json":
        found += [(f"{option}: {what}", cases.bad_path(option, path, words))
                  for what, (path, words) in BAD.items()]
    if nranks == 1:
        found += [("* garbage", cases.garbage), ("terminal", cases.terminal)]
    return found


if __name__ == "__main__":
    sys.exit(main(make_cases))
