#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a job over simulated hosts says when one of them is lost, or its rank is
stopped or dies: within two seconds of DML_TIMEOUT_S one report names rank, host and
process, and the job ends. Usage: faults.py ALLREDUCE_CALLS
"""

import os
import re
import signal
import sys
import time

import cluster

HOSTS, CULPRIT = 3, 1
TIMEOUT_S, GRACE_S = 2, 2  # of the library; for its report
LIMIT_S = 15               # for the whole job; a lost host keeps mpirun until then
REPORT = "no progress for"
# By which mpirun finds a lost host in 2 + 3 seconds (doc/hangs.md).
KEEP_ALIVE = {"time": 2, "intvl": 1, "probes": 3}


class Running:
    """A job of one rank a host that would go on for minutes, and is under way."""

    def __init__(self, hosts_up, program, timeout_s=TIMEOUT_S):
        self.hosts = hosts_up
        self.job = hosts_up.job(HOSTS, program, "ring", "65536", "1000000",
                                env={"DML_TIMEOUT_S": timeout_s}, limit_s=LIMIT_S)
        self.pids = {}
        while len(self.pids) < HOSTS:
            line = self.job.wait_for(" is process ", LIMIT_S)
            rank, pid = map(int, re.findall(r"rank (\d+) is process (\d+)", line)[0])
            self.pids[rank] = pid
        time.sleep(0.5)
        self.begin_s = time.monotonic()

    def signal(self, number):
        os.kill(self.pids[CULPRIT], number)

    def reports(self):
        line = self.job.wait_for(REPORT, LIMIT_S)
        waited_s = time.monotonic() - self.begin_s
        name = f"rank {CULPRIT} (host h{CULPRIT}, pid {self.pids[CULPRIT]})"
        cluster.require(name in line, f"{name} is not in: {line}")
        others = [r for r in range(HOSTS) if r != CULPRIT and f"rank {r} (" in line]
        cluster.require(not others, f"ranks {others} are said to be missing: {line}")
        cluster.require(TIMEOUT_S - 0.5 <= waited_s <= TIMEOUT_S + GRACE_S,
                        f"reported after {waited_s:.1f} s")
        print(f"  after {waited_s:.2f} s: {line.strip()}")

    def ends(self, limit_s, hosts):
        """With a status that is not 0, and without a rank on the hosts that are left."""
        status = self.job.wait()
        took_s = time.monotonic() - self.begin_s
        cluster.require(status != 0, "exit status 0 after a fault")
        cluster.require(took_s <= limit_s, f"ended after {took_s:.1f} s")
        reports = self.job.output.count("dml: " + REPORT)
        cluster.require(reports <= 1, f"{reports} reports:\n{self.job.output}")
        program = self.job.words[self.job.words.index("ring") - 1]
        left = {host: self.hosts.pids(host, program) for host in hosts}
        cluster.require(not any(left.values()), f"ranks are left: {left}")


def with_job(program, act, timeout_s):
    def case():
        with cluster.cluster(HOSTS, 1, "-r", "1gbit") as hosts_up:
            act(Running(hosts_up, program, timeout_s))
    return case


def lost(run):
    """The host is gone without a word, and mpirun waits for it until it is killed."""
    run.hosts.crash(f"h{CULPRIT}")
    run.reports()
    run.ends(LIMIT_S + 6, ["h0", "h2"])


def noticed(run):
    """mpirun is told to look, and is quicker than the library: it ends by itself."""
    run.hosts.crash(f"h{CULPRIT}")
    run.ends(12, ["h0", "h2"])
    cluster.require("lost communication with a remote daemon" in run.job.output,
                    f"mpirun does not say so: {run.job.output}")
    cluster.require(REPORT not in run.job.output, "the library was quicker")


def stopped(run):
    run.signal(signal.SIGSTOP)
    run.reports()
    run.ends(LIMIT_S - 5, ["h0", "h1", "h2"])


def killed(run):
    """The launcher sees this by itself, and may be faster than any report."""
    run.signal(signal.SIGKILL)
    run.ends(10, ["h0", "h1", "h2"])


def main():
    program = cluster.argument(1)
    for name, value in KEEP_ALIVE.items():  # after a report mpirun does not look
        os.environ[f"OMPI_MCA_oob_tcp_keepalive_{name}"] = str(value)
    return cluster.main([(name, with_job(program, act, timeout_s))
                         for name, act, timeout_s in (
        ("a host lost without a word", lost, TIMEOUT_S),
        ("a lost host that mpirun notices", noticed, 30),
        ("a rank stopped", stopped, TIMEOUT_S),
        ("a rank killed", killed, TIMEOUT_S),
    )])


if __name__ == "__main__":
    sys.exit(main())
