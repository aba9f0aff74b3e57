#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""--metrics, --log-json and dml-top where something goes wrong: paths that cannot be
written, a disk that fills, a job that fails, files that are none of metrics.

Usage: metrics_faults.py LAUNCHER DML-CNN NRANKS [PART OF A CASE'S NAME]
"""

import os
import shutil
import signal
import subprocess
import sys

from jobs import Job, LIMIT_S, Skip, TRAIN_S, fails, main, put, require, without_banners
from metrics import Cases, Cnn
from metrics_file import Metrics, events_of, read, top

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


class Faults(Cases):
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
                            (os.path.join(folder, "none"),
                             "No such file or directory; give the file of")):
            require(words in top("--once", path)[2], f"{path}")
        hostile = os.path.join(folder, "hostile")
        put(hostile, b'dml_ranks{app="\x1b[2J",run="\\n"} 1\n')
        require("\x1b" not in top("--once", hostile)[1], "a terminal would obey")
        require(top()[0] == 64 and top("--interval", "x", good)[0] == 64, "options")


def make_cases(top_folder, nranks):
    cases = Faults(Cnn(top_folder), nranks)
    found = [("pipe", cases.pipe), ("same path", cases.same_path),
             ("* folder goes", cases.folder_goes), ("full disk", cases.full_disk),
             ("* diverges", cases.diverges), ("killed", cases.killed)]
    for option in "--metrics", "--log-json":
        found += [(f"{option}: {what}", cases.bad_path(option, path, words))
                  for what, (path, words) in BAD.items()]
    if nranks == 1:
        found.append(("* garbage", cases.garbage))
    return found


if __name__ == "__main__":
    sys.exit(main(make_cases))
