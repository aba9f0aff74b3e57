#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""SIGSTOP to one rank of a job, for a second or longer, with DML_TIMEOUT_S shorter or longer.

A stop that is shorter than the limit must change nothing: the job says nothing, ends, and
has the model of a job that was never stopped, byte for byte. One that is longer must be
reported once, within two seconds of the limit, with the rank, its host, its process and
the operation it is missing in, and it alone as stopped; a rank that waits for it in another
communicator may be missing, too. The whole job ends, the stopped process with it, and another
one goes on from the newest snapshot to the same model.
"""

import math
import os
import re
import signal
import socket
import sys
import time

import campaign
from campaign import END_S, RANKS, require, wait_for
from going_on import snapshots

SHORTEST_S = 1
GRACE_S = 2  # from the limit to the report
MARGIN_S = 2 # a stop below the limit: so long may the machine take to go on
SCALE = 3    # jobs are long enough to be met while they train
# Ranks of the others do not wait for each other while they grow trees.
ALONE = ("prf",)
REPORT = re.compile(r"no progress for [\d.]+ s in operation \d+, \w[^:]*: \d+ missing: (.*)")
MISSING = re.compile(r"rank (\d+) \(host (\S+), pid (\d+)\) (.*)")


def rank_of(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        words = dict(word.partition(b"=")[::2] for word in file.read().split(b"\0"))
    return int(words.get(b"OMPI_COMM_WORLD_RANK", words.get(b"PMI_RANK", b"-1")))


def choose(longest_s, rng):
    """Seconds of the stop, and the limit: below it, or so far above that it must be seen
    before the stop ends."""
    seconds = math.exp(rng.uniform(math.log(SHORTEST_S), math.log(longest_s)))
    if seconds > GRACE_S + 1.5 and rng.random() < 0.7:
        return seconds, rng.uniform(0.5, min(10, seconds - GRACE_S - 1))
    return seconds, seconds * rng.uniform(1, 1.5) + MARGIN_S


def begin(work, subject, nranks, folder, limit_s, rng):
    """A job somewhere in its training, and one of its processes; None: it ended before."""
    job = work.start(subject, nranks, folder, "--checkpoint", "run", "--checkpoint-every",
                     20, "--resume", "auto", "--model", "again.dml",
                     env={"DML_TIMEOUT_S": f"{limit_s:.2f}"})
    if not wait_for(job, lambda: snapshots(folder)):
        return job, None
    time.sleep(rng.random() * 0.5)
    ranks = job.ranks()
    return job, rng.choice(ranks) if len(ranks) == nranks else None


def short(job, pid, seconds, folder, whole):
    begin_s = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
    over_s = time.monotonic() - begin_s - seconds
    require(over_s < MARGIN_S / 2, f"this machine is too busy: {over_s:.1f} s over")
    campaign.same_model(job, folder, whole)


def long(work, job, pid, seconds, limit_s):
    """The report's line, in time; the end of the whole job."""
    rank, begin_s = rank_of(pid), time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    while "no progress for" not in job.text(job.err):
        require(time.monotonic() - begin_s < seconds,
                job.told(f"rank {rank} was stopped for {seconds:.1f} s, and nobody said so"))
        time.sleep(0.01)
    late_s = time.monotonic() - begin_s - limit_s
    status = job.process.wait(END_S)
    told = job.text(job.err)
    campaign.no_process_left(job)
    require(status != 0, job.told("exit status 0 after a report"))
    require(told.count("no progress for") == 1, job.told("not one report"))
    found = REPORT.search(told)
    missing = [MISSING.match(one) for one in found[1].split(" | ")] if found else [None]
    require(all(missing), job.told("a report of another form"))
    stopped = [(int(one[1]), one[2], int(one[3])) for one in missing
               if one[4].endswith("its process is stopped")]
    require(stopped == [(rank, socket.gethostname(), pid)],
            job.told(f"names {stopped}, but rank {rank}, process {pid} was stopped"))
    # The stopped rank, woken by the launcher to be ended, may find the others gone.
    ours = [line for line in told.splitlines() if line.startswith("dml-")]
    require(not any("missing: rank" in line for line in ours), job.told("the application repeats what was reported"))
    work.count("reports with a rank that waits for the stopped one elsewhere",
               len(missing) > 1)
    with work.lock:
        work.late_s.append(late_s)
    require(late_s <= GRACE_S, job.told(f"reported {late_s:.1f} s after the limit"))


def stop(work, number, folder, rng):
    subject = rng.choice([name for name in work.subjects() if name not in ALONE])
    nranks = rng.choice(RANKS)
    seconds, limit_s = choose(work.options.longest, rng)
    whole = work.whole(subject, nranks)
    job, pid = begin(work, subject, nranks, folder, limit_s, rng)
    try:
        what = f"{subject} on {nranks} ranks, stopped for {seconds:.1f} s of {limit_s:.1f}"
        if not pid:
            work.count("jobs that ended before their stop")
        elif seconds < limit_s:
            short(job, pid, seconds, folder, whole)
            work.count("stops below the limit: nothing said, the same model")
        else:
            long(work, job, pid, seconds, limit_s)
            again = work.start(subject, nranks, folder, "--checkpoint", "run", "--resume",
                               "auto", "--model", "again.dml")
            campaign.same_model(again, folder, whole)
            work.count("stops above the limit: named, ended, the same model by another job")
    except campaign.Wrong as wrong:
        raise campaign.Wrong(f"{what}: {wrong}") from None
    finally:
        job.kill()
    if pid:
        work.count("trials passed")


class Stops(campaign.Campaign):
    def __init__(self, options, top):
        super().__init__(options, top, SCALE)
        self.late_s, self.begun = [], 0

    def more(self):
        """As many as asked for, and one more for each that came too late."""
        self.begun += 1
        return self.begun <= self.options.stops + \
            self.counts["jobs that ended before their stop"]

    def end(self):
        late = sorted(self.late_s)
        if late:
            print(f"reported {late[0]:.2f} to {late[-1]:.2f} s after the limit, median "
                  f"{late[len(late) // 2]:.2f}")
        passed, wanted = self.counts["trials passed"], self.options.stops
        return None if passed >= wanted else f"{passed} of {wanted} stops passed"


if __name__ == "__main__":
    sys.exit(campaign.main(campaign.options_of(
        __doc__, stops=(50, "how many"), longest=(30, "seconds of the longest")), Stops, stop))
