#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The test program of the collectives, a sample of its cases, over simulated hosts.

Usage: collectives.py TEST_COLLECTIVES
"""

import sys
import time

import cluster

EVERY = "499"  # of the generated cases one in so many, another one with each seed
SLEEP_S = 2.0


def sampled(program, hosts, slots, *options):
    """One run; every collective by every algorithm on large blocks, and a sample."""
    def case():
        with cluster.cluster(hosts, slots, *options) as hosts_up:
            before = hosts_up.sent()
            output = hosts_up.job(hosts * slots, program, "--every", EVERY).works()
            after = hosts_up.sent()
        cluster.require(" passed, 0 failed" in output, output[-4000:])
        for host in before:
            sent = after[host] - before[host]
            cluster.require(sent > 1 << 20, f"{host} sent {sent} bytes only")
    return case


def cut(program):
    """A link that is down for two seconds: TCP sends again, nobody notices more than a
    pause, and the results are right."""
    def case():
        with cluster.cluster(2, 1, "-r", "1gbit") as hosts_up:
            job = hosts_up.job(2, program, "--every", EVERY)
            job.wait_for("passed   allreduce", 30)
            hosts_up.link("h1", "down")
            time.sleep(SLEEP_S)
            hosts_up.link("h1", "up")
            output = job.works()
        cluster.require(" passed, 0 failed" in output, output[-4000:])
    return case


def main():
    program = cluster.argument(1)
    fast, slow = ["-r", "1gbit"], ["-r", "1gbit", "-d", "200us", "-j", "50us"]
    return cluster.main([
        ("2 hosts of 1 rank", sampled(program, 2, 1, *fast)),
        ("2 hosts of 2 ranks", sampled(program, 2, 2, *fast)),
        ("4 hosts of 1 rank", sampled(program, 4, 1, *fast)),
        ("2 hosts of 1 rank, delay and loss", sampled(program, 2, 1, *slow, "-l", "0.05%")),
        ("a link cut for 2 s", cut(program)),
    ])


if __name__ == "__main__":
    sys.exit(main())
