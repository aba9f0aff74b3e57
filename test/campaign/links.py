#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-cnn over hosts whose links are bad: packets are lost, late, or stop for seconds.

Three hosts are network namespaces (test/cluster/netns-cluster); without root, or where those
are not permitted, this is skipped. A job over bad links must end with the model of one
over good links, byte for byte, and say nothing. A host that is lost without a word must
be named, with rank and process, within two seconds of DML_TIMEOUT_S; the ranks of the
others end, and another job goes on from the newest snapshot to the same model.
"""

import os
import random
import re
import shutil
import sys
import tempfile
import time

import campaign

sys.path.insert(0, os.path.join(campaign.HERE, "../cluster"))
import cluster  # noqa: E402

HOSTS = 3
DARK_S = 5           # a blackout
TIMEOUT_S, GRACE_S = 3, 2
LIMIT_S = 150        # a job over bad links, on a loaded machine
LOST_S = 25          # a job with a lost host: mpirun waits for it until it is killed
RECIPE = ["train", "--batch", "12", "--lr", "0.02", "--threads", "1", "--seed", "7"]
# 40 steps: over links of 50 ms each takes a fifth of a second or more.
EPOCHS, LONG = 2, 2000
NAMED = re.compile(r"1 missing: rank (\d+) \(host (\S+), pid (\d+)\)")


class Links:
    def __init__(self, options, top):
        self.rng = random.Random(options.seed)
        self.program = os.path.realpath(os.path.join(options.programs, "dml-cnn"))
        self.top, self.idx, self.whole = top, os.path.join(top, "idx"), None
        campaign.make_idx(self.idx)

    def job(self, hosts_up, model, *options, epochs=EPOCHS, limit_s=LIMIT_S, env=None):
        return hosts_up.job(HOSTS, self.program, *RECIPE, "--data", self.idx, "--epochs",
                            str(epochs), "--model", os.path.join(self.top, model), *options,
                            env={**campaign.BITS, **(env or {})}, limit_s=limit_s)

    def same(self, job, model):
        told = job.works()
        cluster.require("dml" not in told.replace("dml-campaign-", ""), f"it says {told}")
        with open(os.path.join(self.top, model), "rb") as file:
            cluster.require(file.read() == self.whole, "other bits than over good links")

    def good(self):
        with cluster.cluster(HOSTS) as hosts_up:
            self.job(hosts_up, "whole.dml").works()
        self.whole = campaign.get(os.path.join(self.top, "whole.dml"))

    def bad(self, *options):
        def case():
            with cluster.cluster(HOSTS, 1, *options) as hosts_up:
                self.same(self.job(hosts_up, "bad.dml"), "bad.dml")
        return case

    def dark(self, most):
        """Some host's link, again and again while the job is there."""
        times = 0
        with cluster.cluster(HOSTS, 1, "-d", "20ms") as hosts_up:
            job = self.job(hosts_up, "dark.dml")
            job.wait_for("epoch ", LIMIT_S)
            while job.process.poll() is None and times < most:
                time.sleep(self.rng.random())
                host = f"h{self.rng.randrange(HOSTS)}"
                hosts_up.link(host, "down")
                time.sleep(DARK_S)
                hosts_up.link(host, "up")
                times += job.process.poll() is None
                time.sleep(DARK_S)  # TCP tries again after a while
            self.same(job, "dark.dml")
        cluster.require(times, "the job had ended before the first blackout")
        print(f"  {times} blackouts of {DARK_S} s", flush=True)

    def report(self, job, lost, begin_s):
        line = job.wait_for("no progress for", LOST_S)
        after_s = time.monotonic() - begin_s
        found = NAMED.search(line)
        cluster.require(found, f"a report of another form: {line}")
        named = int(found[1]), found[2], int(found[3])
        cluster.require(named == lost, f"names {named}, but {lost} was lost")
        cluster.require(after_s <= TIMEOUT_S + GRACE_S, f"reported after {after_s:.1f} s")
        print(f"  after {after_s:.2f} s, limit {TIMEOUT_S}: {line.strip()}", flush=True)

    def lost(self):
        run = os.path.join(self.top, "run")
        words = ["--checkpoint", run, "--resume", "auto", "--checkpoint-every", "5"]
        culprit = self.rng.randrange(1, HOSTS)  # mpirun is on the first
        with cluster.cluster(HOSTS) as hosts_up:
            job = self.job(hosts_up, "lost.dml", *words, limit_s=LOST_S, epochs=LONG,
                           env={"DML_TIMEOUT_S": str(TIMEOUT_S)})
            while len(os.listdir(run) if os.path.isdir(run) else []) < 3:
                cluster.require(job.process.poll() is None, "ended before the fault")
                time.sleep(0.01)
            host = f"h{culprit}"
            pid, = hosts_up.pids(host, self.program)
            begin_s = time.monotonic()
            hosts_up.crash(host)
            self.report(job, (culprit, host, pid), begin_s)
            cluster.require(job.wait() != 0, "exit status 0 after a fault")
            left = {f"h{i}": hosts_up.pids(f"h{i}", self.program) for i in range(HOSTS)}
            cluster.require(not any(left.values()), f"ranks are left: {left}")
        self.goes_on(words)

    def goes_on(self, words):
        """Also to an end that is not far: as many steps as the newest snapshot has, and
        some more."""
        newest = max(os.listdir(os.path.join(self.top, "run")),
                     key=lambda name: (name.startswith("snapshot-"), name))
        steps = str(int(newest.rsplit("-", 1)[1]) + 30)
        with cluster.cluster(HOSTS) as hosts_up:
            for model, more in ("again.dml", words), ("through.dml", []):
                self.job(hosts_up, model, *more, "--max-steps", steps, epochs=LONG).works()
        cluster.require(campaign.get(os.path.join(self.top, "again.dml")) ==
                        campaign.get(os.path.join(self.top, "through.dml")),
                        "other bits than of a job that lost no host")


def main():
    options = campaign.options_of(__doc__, {"short": "the quick ones alone"})
    why = cluster.unavailable()
    if why:
        return cluster.skip(why)
    print(f"seed {options.seed}", flush=True)
    top = tempfile.mkdtemp(prefix="dml-campaign-")
    try:
        links = Links(options, top)
        cases = [("good links", links.good),
                 ("1 % of the packets are lost", links.bad("-l", "1%")),
                 ("50 ms late", links.bad("-d", "50ms")),
                 ("blackouts", lambda: links.dark(1 if options.short else 10))]
        if not options.short:
            cases += [("1 % lost, 50 ms late", links.bad("-d", "50ms", "-l", "1%")),
                      ("a host lost without a word", links.lost)]
        if options.trial:
            cases = [cases[0], cases[options.trial]]
        return cluster.run(cases)
    finally:
        shutil.rmtree(top)


if __name__ == "__main__":
    sys.exit(main())
