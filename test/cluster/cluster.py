# SPDX-License-Identifier: BSD-3-Clause
"""What the tests over simulated hosts share: clusters of namespaces, jobs on them, cases.

A case is a function of no arguments. It raises Wrong when what it looked at is not as it
should be. The whole program is skipped, by name, where namespaces are not permitted.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

SKIP = 77  # Meson's exit status for a test that could not run
HERE = os.path.dirname(os.path.abspath(__file__))
TOOL = os.path.join(HERE, "netns-cluster")
HEADER_BYTES = 66  # of a TCP packet: Ethernet 14, IP 20, TCP with time stamps 32


class Wrong(Exception):
    pass


def require(condition, text):
    if not condition:
        raise Wrong(text)


def tool(*words, check=True):
    """Runs netns-cluster to its end; what it printed."""
    done = subprocess.run([TOOL, *map(str, words)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    if check and done.returncode != 0:
        raise Wrong(f"netns-cluster {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


class Job:
    """An mpirun over the hosts. Its processes live in their namespaces, and are killed
    with these."""

    def __init__(self, name, nranks, program, words, env, limit_s):
        self.words = [TOOL, "mpirun", "-c", name, "-np", str(nranks)]
        for key, value in env.items():
            self.words += ["-x", f"{key}={value}"]
        self.words += [program, *words]
        self.begin_s = time.monotonic()
        with tempfile.NamedTemporaryFile(mode="w") as out:
            self.file = open(out.name, encoding="utf-8", errors="replace")
            self.process = subprocess.Popen(
                ["timeout", "-k", "5", str(limit_s), *self.words],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        self.output = self.part = ""

    def wait(self):
        """The exit status; 124 or 137 where the limit ended it. What the job leaves
        behind may hold its output open, which is therefore read from a file."""
        status = self.process.wait()
        self.output += self.file.read()
        return status

    def works(self):
        status = self.wait()
        require(status == 0, f"exit status {status} of {' '.join(self.words)}\n"
                             f"{self.output[-4000:]}")
        return self.output

    def wait_for(self, text, limit_s):
        """Until a line with the text is there; that line."""
        while True:
            ended = self.process.poll() is not None
            self.part += self.file.readline()
            if self.part.endswith("\n"):
                line, self.part = self.part, ""
                self.output += line
                if text in line:
                    return line
                continue
            require(not ended, f"ended before it said \"{text}\":\n{self.output}")
            require(time.monotonic() - self.begin_s < limit_s, f"waited for \"{text}\"")
            time.sleep(0.01)


class Cluster:
    def __init__(self, name):
        self.name = name

    def job(self, nranks, program, *words, env=None, limit_s=50):
        return Job(self.name, nranks, program, words, env or {}, limit_s)

    def link(self, host, state):
        tool("link", "-c", self.name, host, state)

    def crash(self, host):
        tool("crash", "-c", self.name, host)

    def sent(self):
        """{host: bytes sent so far, without the headers of Ethernet, IP and TCP}. A frame
        of segmentation offload is counted once by the device, with one header."""
        lines = tool("traffic", "-c", self.name).splitlines()
        return {host: int(nbytes) - HEADER_BYTES * int(frames)
                for host, nbytes, frames in map(str.split, lines)}

    def pids(self, host, program):
        """Process ids of the program on one host."""
        path = f"/run/netns/{self.name}-{host}"
        found = []
        for pid in subprocess.run(["ip", "netns", "pids", os.path.basename(path)],
                                  capture_output=True, text=True).stdout.split():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/exe") == os.path.realpath(program):
                    found.append(int(pid))
        return sorted(found)


@contextlib.contextmanager
def cluster(hosts, slots=1, *options):
    """A cluster of hosts while the block runs. The name is this process's own, so that
    tests of other builds can run at the same time."""
    name = f"t{os.getpid() % 10000000}"
    tool("up", "-c", name, "-n", hosts, "-s", slots, *options)
    try:
        yield Cluster(name)
    finally:
        tool("down", "-c", name)


def unavailable():
    """Why there can be no cluster here, or ""."""
    if not shutil.which("ip"):
        return "no ip (package iproute2)"
    probe = subprocess.run([TOOL, "probe", "-c", "probe"], capture_output=True, text=True)
    lines = probe.stderr.strip().splitlines() or ["netns-cluster probe failed"]
    return "" if probe.returncode == 0 else lines[-1]


def skip(why, what="namespaces with shaped links"):
    print(f"skipped: {what}: {why}")
    return SKIP


def run(cases):
    """Runs (name, case) in turn; the exit status."""
    failed = 0
    for name, case in cases:
        begin_s = time.monotonic()
        try:
            case()
            print(f"ok: {name} ({time.monotonic() - begin_s:.1f} s)", flush=True)
        except Wrong as wrong:
            failed += 1
            print(f"FAILED: {name}: {wrong}", flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main(cases):
    """The same where there can be a cluster."""
    why = unavailable()
    return skip(why) if why else run(cases)


def argument(number):
    return os.path.realpath(sys.argv[number])
