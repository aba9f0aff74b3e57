#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How many bytes an all-reduce sends from each host, counted on the link.

Two numbers of calls, so that what the job's start sends cancels out. The least that any
algorithm can send is 2(h-1)/h of the vector from each of h hosts; what MPI and libdml add
to the payload may be 2 % of it. Usage: wire_bytes.py ALLREDUCE_CALLS
"""

import sys

import cluster

NBYTES = 4 << 20
FEW, MANY = 2, 8
SLACK = 0.02


def least(hosts):
    return 2 * (hosts - 1) / hosts * NBYTES


def ring(hosts, slots):
    """A ring leaves each host by one rank, which sends for all ranks."""
    nranks = hosts * slots
    return 2 * (nranks - 1) / nranks * NBYTES


def sent(hosts_up, nranks, program, algorithm, calls):
    before = hosts_up.sent()
    hosts_up.job(nranks, program, algorithm, str(NBYTES), str(calls)).works()
    after = hosts_up.sent()
    return {host: after[host] - before[host] for host in before}


def counted(program, hosts, slots, algorithm, expected):
    def case():
        with cluster.cluster(hosts, slots, "-r", "1gbit") as hosts_up:
            few = sent(hosts_up, hosts * slots, program, algorithm, FEW)
            many = sent(hosts_up, hosts * slots, program, algorithm, MANY)
        for host in few:
            per_call = (many[host] - few[host]) / (MANY - FEW)
            print(f"  {host} sends {per_call:.0f} bytes a call, "
                  f"{per_call / expected:.4f} of what is expected")
            cluster.require(abs(per_call / expected - 1) <= SLACK,
                            f"{host} sends {per_call:.0f} bytes a call, not {expected:.0f}")
    return case


def main():
    program = cluster.argument(1)
    return cluster.main([
        ("ring, 2 hosts of 1 rank", counted(program, 2, 1, "ring", least(2))),
        ("ring, 4 hosts of 1 rank", counted(program, 4, 1, "ring", least(4))),
        ("ring, 2 hosts of 2 ranks", counted(program, 2, 2, "ring", ring(2, 2))),
        ("chain, 2 hosts of 2 ranks", counted(program, 2, 2, "chain", least(2))),
        ("hierarchical, 2 hosts of 2 ranks",
         counted(program, 2, 2, "hierarchical", least(2))),
        ("hierarchical, 3 hosts of 2 ranks",
         counted(program, 3, 2, "hierarchical", least(3))),
    ])


if __name__ == "__main__":
    sys.exit(main())
