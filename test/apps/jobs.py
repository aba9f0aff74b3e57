# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the applications share: data to train on, jobs, cases and counts.

A case is a function of one argument, an empty folder of its own. It raises Wrong when
what it looked at is not as it should be, and Skip with the reason when it cannot run.
Several cases run at once: a job spends most of its time waiting for its launcher.
"""

import concurrent.futures
import glob
import gzip
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

SKIP = 77  # Meson's exit status for a test that could not run
AT_ONCE = 4
SLOWNESS = int(os.environ.get("DML_TEST_SLOWNESS", "1"))  # of sanitized programs
LIMIT_S = 40 * SLOWNESS  # in which a job that fails must have ended, on a loaded machine
POLL_S = 0.02
TRAIN_S = 120 * SLOWNESS  # a job that is meant to work, likewise
CLASSES, SIDE = 4, 12
IMAGES, TESTS = 240, 60


class Wrong(Exception):
    pass


class Skip(Exception):
    pass


def require(condition, text):
    if not condition:
        raise Wrong(text)


# ---- data ------------------------------------------------------------------------------

def pixels(label, rows, side, rng):
    """A bright band whose place tells the label, in noise: learnt within an epoch."""
    band = side // CLASSES
    row = [200 if x // band == label else 20 for x in range(side)]
    return bytes(v + rng.randrange(40) for _ in range(rows) for v in row)


def write_idx(folder, part, count, rng):
    labels = bytes(i % CLASSES for i in range(count))
    data = b"".join(pixels(label, SIDE, SIDE, rng) for label in labels)
    put(images_path(folder, part), struct.pack(">4I", 0x803, count, SIDE, SIDE) + data)
    put(labels_path(folder, part), struct.pack(">2I", 0x801, count) + labels)


def images_path(folder, part="train"):
    return os.path.join(folder, part + "-images-idx3-ubyte")


def labels_path(folder, part="train"):
    return os.path.join(folder, part + "-labels-idx1-ubyte")


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


def get(path):
    with open(path, "rb") as file:
        return file.read()


def pack(path):
    """Replaces a file by its gzip form; returns the new path."""
    put(path + ".gz", gzip.compress(get(path)))
    os.unlink(path)
    return path + ".gz"


def make_idx(folder):
    rng = random.Random(1)
    os.makedirs(folder)
    write_idx(folder, "train", IMAGES, rng)
    write_idx(folder, "t10k", TESTS, rng)


def make_cifar(folder):
    """Two files of training records and one of test records."""
    rng = random.Random(2)
    os.makedirs(folder)
    for name, count in ("data_batch_1.bin", 48), ("data_batch_2.bin", 48), \
            ("test_batch.bin", 24):
        put(os.path.join(folder, name), b"".join(
            bytes([i % CLASSES]) + pixels(i % CLASSES, 3 * 32, 32, rng)
            for i in range(count)))


# ---- jobs ------------------------------------------------------------------------------

# What launchers add to standard error when a process fails or is killed. Everything
# else there must come from the program.
RULE = re.compile(r"-{20,}|=+")
BANNERS = [re.compile(pattern) for pattern in (
    r"Primary job  terminated normally, but \d+ process(es)? returned",
    r"a non-zero exit code\. Per user-direction, the job has been aborted\.",
    r"mpirun(\.openmpi)? detected that one or more processes exited with non-zero "
    r"status, thus causing",
    r"the job to be terminated\. The first process to do so was:",
    r"  Process name: \[\[\d+,\d+\],\d+\]",
    r"  Exit code:    \d+",
    r"mpirun(\.openmpi)? noticed that process rank \d+ with PID \d+ on node \S+ exited "
    r"on signal \d+ \(Killed\)\.",
    r"=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES",
    r"=   PID \d+ RUNNING AT \S+",
    r"=   EXIT CODE: \d+",
    r"=   CLEANING UP REMAINING PROCESSES",
    r"=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES",
    r"YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed \(signal 9\)",
    r"This typically refers to a problem with your application\.",
    r"Please see the FAQ page for debugging suggestions",
    r"\[(proxy|mpiexec).*",
)]


def without_banners(text):
    return [line for line in text.splitlines()
            if line.strip() and not RULE.fullmatch(line.strip())
            and not any(banner.fullmatch(line) for banner in BANNERS)]


class Job:
    """A launcher with its ranks. They stay in the test's process group, so that whoever
    ends the test ends them, too."""

    launcher = program = None   # set by main()

    def __init__(self, command, folder, env=None):
        self.command, self.folder = [str(word) for word in command], folder
        self.out = tempfile.TemporaryFile()
        self.err = tempfile.TemporaryFile()
        # Open MPI waits a second for killed processes; a job here has none to save.
        env = dict(os.environ, OMPI_MCA_odls_base_sigkill_timeout="0", **(env or {}))
        self.process = subprocess.Popen(
            self.command, cwd=folder, env=env, stdin=subprocess.DEVNULL,
            stdout=self.out, stderr=self.err)

    def end(self, limit_s):
        """The exit status; Wrong if it comes too late."""
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise Wrong(self.told(f"still running after {limit_s} s")) from None
        finally:
            self.kill()
        return status

    def wait_until(self, condition, what):
        """Wrong if it ends before, or takes too long."""
        deadline = time.monotonic() + TRAIN_S
        while not condition():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.kill()
                require(False, self.told(f"waited in vain for {what}"))
            time.sleep(POLL_S)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.ranks():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def ranks(self):
        """Process ids of the program in this job, by /proc, whoever started them."""
        found = []
        for path in glob.glob("/proc/[0-9]*"):
            try:
                with open(path + "/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                cwd = os.readlink(path + "/cwd")
            except OSError:
                continue
            if words[0] == self.program.encode() and cwd == os.path.realpath(self.folder):
                found.append(int(os.path.basename(path)))
        return sorted(found)

    def left_behind(self, within_s=5):
        """Ranks that outlive the job. One that mpirun killed as it ended may take a moment
        on a busy machine."""
        until = time.monotonic() + within_s
        while self.ranks() and time.monotonic() < until:
            time.sleep(0.05)
        return self.ranks()

    @staticmethod
    def text(stream):
        """All that was written so far. The position is shared with the job: no seek."""
        size = os.fstat(stream.fileno()).st_size
        return os.pread(stream.fileno(), size, 0).decode("utf-8", "replace")

    def told(self, what):
        return (f"{what}\n  {' '.join(self.command)}\n  standard error:\n    " +
                "\n    ".join(self.text(self.err).splitlines()))


def mpirun(folder, nranks, *words, env=None):
    """A job that works; its standard output."""
    job = Job([Job.launcher, "-n", nranks, Job.program, *words], folder, env)
    status = job.end(TRAIN_S)
    require(status == 0, job.told(f"exit status {status}, 0 expected"))
    lines = without_banners(job.text(job.err))
    require(not lines, job.told("a job that works writes to standard error"))
    return job.text(job.out)


def fails(folder, command, words):
    """A job that fails as it should: in time, with one line of the program that holds all
    the words, and without any new file."""
    before = set(os.listdir(folder))
    job = Job(command, folder)
    check_failure(job, words)
    left = set(os.listdir(folder)) - before
    require(not left, job.told(f"files left behind: {sorted(left)}"))


def check_failure(job, words):
    status = job.end(LIMIT_S)
    require(status != 0, job.told("exit status 0 after a failure"))
    lines = without_banners(job.text(job.err))
    require(len(lines) == 1,
            job.told(f"{len(lines)} lines on standard error, 1 expected"))
    name = os.path.basename(job.program)
    require(lines[0].startswith(name + ": "), job.told(f"not a line of {name}"))
    for word in words:
        require(word in lines[0], job.told(f"\"{word}\" is not in the line"))


# ---- cases -----------------------------------------------------------------------------

def run_case(top, number, name, case):
    """("passed" or "failed" or "skipped", text to print)"""
    folder = os.path.join(top, f"case{number}")
    os.mkdir(folder)
    begin = time.monotonic()
    try:
        case(folder)
        return "passed", f"ok: {name} ({time.monotonic() - begin:.1f} s)"
    except Skip as skip:
        return "skipped", f"skipped: {name}: {skip}"
    except Wrong as wrong:
        return "failed", f"FAILED: {name}: {wrong}"


def main(make_cases):
    """Arguments: LAUNCHER PROGRAM NRANKS [part of a case's name]"""
    Job.launcher, Job.program = sys.argv[1], os.path.realpath(sys.argv[2])
    wanted = sys.argv[4] if len(sys.argv) > 4 else ""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    top = tempfile.mkdtemp(prefix="dml-apps-")
    try:
        cases = [case for case in make_cases(top, int(sys.argv[3])) if wanted in case[0]]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            jobs = [pool.submit(run_case, top, i, *case) for i, case in enumerate(cases)]
            for job in jobs:
                result, text = job.result()
                counts[result] += 1
                print(text, flush=True)
    finally:
        shutil.rmtree(top)
    print(", ".join(f"{count} {name}" for name, count in counts.items()
                    if count or name != "skipped"))
    if counts["failed"]:
        return 1
    return 0 if counts["passed"] else SKIP
