# SPDX-License-Identifier: BSD-3-Clause
"""What the campaigns share: jobs of all applications, small enough to be repeated hundreds
of times, the models they end with when nothing happens, and counts.

A campaign runs trials, several at once. What a trial does follows from the campaign's seed
and the trial's number; the moments at which it strikes depend on the machine, too, so a
repeated trial is the same only as far as that goes.
"""

import argparse
import collections
import concurrent.futures
import os
import random
import shutil
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../apps"))
from crf_checkpoint import long_sentences  # noqa: E402
from jobs import Job, Wrong, get, make_idx, put, require, without_banners  # noqa: E402
from prf import SHARDED, write_table  # noqa: E402

RANKS = (2, 3, 4)
LIMIT_S = 180     # a job that is meant to work, on a loaded machine
END_S = 20        # a job after a fault
LEFT_S = 5        # processes after the job
POLL_S = 0.0005
BITS = {"DML_REPRODUCIBLE": "1"}

CNN = ["dml-cnn", "train", "--batch", 12, "--lr", 0.02]
CRF = ["dml-crf", "train", "--c2", 0.01, "--delta", 0, "--epsilon", 0]
PRF = ["dml-prf", "train"]
# Name -> words of a job that trains for a second or two; the last one is its length.
SUBJECTS = {
    "cnn": [*CNN, "--epochs", 120],
    "cnn, adam, sharded": [*CNN, "--optimizer", "adam", "--shard-optimizer", "--epochs", 120],
    "cnn, dgc": [*CNN, "--compress", "dgc:0.1,force", "--epochs", 120],
    "cnn, augment, bf16": [*CNN, "--augment", "--precision", "bf16", "--epochs", 120],
    "crf, lbfgs": [*CRF, "--max-iterations", 150],
    "crf, owlqn": [*CRF, "--c1", 0.3, "--max-iterations", 150],
    "crf, sgd": [*CRF, "--trainer", "sgd", "--batch", 32, "--epochs", 40],
    "crf, perceptron": [*CRF, "--trainer", "perceptron", "--patience", 100000, "--epochs",
                        400],
    "prf": [*PRF, "--trees", 1200],
    "prf, sharded": [*PRF, *SHARDED, "--trees", 150],
    "prf, by rows": [*PRF, "--partition", "rows", "--trees", 150],
}


class Campaign:
    """Jobs by subject, in folders below "top", and counts by name. Jobs are "scale" times
    as long as SUBJECTS says. Each kind of campaign says when another trial begins, more(),
    and, at the end(), why the counts are not those of one without faults, or None."""

    def __init__(self, options, top, scale=1):
        self.options, self.top, self.scale = options, top, scale
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.wholes = {}
        self.begin_s = time.monotonic()
        rng = random.Random(4)
        self.data = {app: os.path.join(top, "data-" + app) for app in ("cnn", "crf", "prf")}
        make_idx(self.data["cnn"])
        os.mkdir(self.data["crf"])
        for name, count in ("train.txt", 600), ("dev.txt", 20):
            put(os.path.join(self.data["crf"], name), long_sentences(count, rng))
        write_table(self.data["prf"], 1500, noise=0.2)

    def subjects(self):
        """Those whose program was built: dml-crf may not be."""
        return [name for name in SUBJECTS if os.path.exists(self.program(name))]

    def program(self, subject):
        return os.path.realpath(os.path.join(self.options.programs, SUBJECTS[subject][0]))

    def count(self, name, more=1):
        with self.lock:
            self.counts[name] += more

    def start(self, subject, nranks, folder, *words, env=None):
        program = self.program(subject)
        command, *options, length = SUBJECTS[subject][1:]
        data = self.data[SUBJECTS[subject][0][4:]]
        job = Job([self.options.launcher, "-n", nranks, program, command, "--data", data,
                   "--threads", 1, "--seed", 7, *options, self.scale * length, *words],
                  folder,
                  {**BITS, **(env or {})})
        job.program = program
        return job

    def whole(self, subject, nranks):
        """The model of a job that nothing happens to; it is trained once."""
        with self.lock:
            wait = self.wholes.setdefault((subject, nranks), threading.Lock())
        with wait:
            folder = os.path.join(self.top, f"whole-{subject}-{nranks}".replace(" ", ""))
            if not os.path.exists(folder + "/whole.dml"):
                shutil.rmtree(folder, ignore_errors=True)
                os.mkdir(folder)
                job = self.start(subject, nranks, folder, "--model", "whole.dml")
                require(job.end(LIMIT_S) == 0, job.told("fails without any fault"))
            return get(os.path.join(folder, "whole.dml"))

    def out_of_time(self):
        minutes = self.options.minutes
        return minutes and time.monotonic() - self.begin_s > 60 * minutes


def wait_for(job, condition):
    """False where the job ends first."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if job.process.poll() is not None:
            return False
        require(time.monotonic() < deadline, job.told("hangs, and nothing was done to it"))
        time.sleep(POLL_S)
    return True


def no_process_left(job):
    left = job.left_behind(LEFT_S)
    job.kill()
    require(not left, job.told(f"{len(left)} processes outlive the job by {LEFT_S} s"))


def same_model(job, folder, whole):
    """A job that works, with nothing to say, and the bits of one that nothing happened to."""
    status = job.end(LIMIT_S)
    require(status == 0, job.told(f"exit status {status}, 0 expected"))
    lines = without_banners(job.text(job.err))
    require(not lines, job.told("a job that works writes to standard error"))
    require(get(os.path.join(folder, "again.dml")) == whole, job.told("other bits"))


def options_of(text, flags=None, **defaults):
    """All campaigns' options, with numbers and flags that this one has of its own."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, (value, help_text) in defaults.items():
        parser.add_argument("--" + name, type=type(value), default=value, metavar="N",
                            help=f"{help_text} (default {value})")
    for name, help_text in (flags or {}).items():
        parser.add_argument("--" + name, action="store_true", help=help_text)
    parser.add_argument("--minutes", type=float, default=0, metavar="M",
                        help="begin no trial after so many")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30), metavar="S",
                        help="random choices follow from it (default: a random one)")
    parser.add_argument("--trial", type=int, metavar="K", help="only this one, to repeat it")
    parser.add_argument("--at-once", type=int, default=2, metavar="J",
                        help="trials that run at the same time (default 2)")
    parser.add_argument("--keep", metavar="DIR",
                        help="move the folders of trials that failed there")
    parser.add_argument("--launcher", default="mpirun", metavar="PROGRAM")
    parser.add_argument("--programs", default=os.path.join(HERE, "../../build/apps"),
                        metavar="DIR", help="where dml-cnn and the others are")
    return parser.parse_args()


def run_trial(campaign, trial, number):
    """None, or why it failed."""
    folder = os.path.join(campaign.top, f"trial-{number}")
    os.mkdir(folder)
    try:
        trial(campaign, number, folder, random.Random(f"{campaign.options.seed} {number}"))
    except (Wrong, OSError) as wrong:
        if campaign.options.keep:
            os.makedirs(campaign.options.keep, exist_ok=True)
            shutil.move(folder, campaign.options.keep)
        return str(wrong)
    shutil.rmtree(folder)
    return None


def run_all(campaign, trial):
    """Trials as long as there are more, or the one that is asked for; how many failed."""
    options, number, failed = campaign.options, 0, 0
    only, running = options.trial, set()
    with concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        while True:
            while len(running) < options.at_once and not campaign.out_of_time() and \
                    (number == 0 if only is not None else campaign.more()):
                at = number if only is None else only
                future = pool.submit(run_trial, campaign, trial, at)
                future.number = at
                running.add(future)
                number += 1
            if not running:
                return failed
            done, running = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                why = future.result()
                if why:
                    failed += 1
                    print(f"FAILED: trial {future.number}: {why}\n  to repeat it: "
                          f"{sys.argv[0]} --seed {options.seed} --trial {future.number}",
                          flush=True)


def main(options, make_campaign, trial):
    """The exit status."""
    print(f"seed {options.seed}", flush=True)
    top = tempfile.mkdtemp(prefix="dml-campaign-")
    try:
        campaign = make_campaign(options, top)
        failed = run_all(campaign, trial)
    finally:
        shutil.rmtree(top)
    for name, count in sorted(campaign.counts.items()):
        print(f"{count:6d} {name}")
    print(f"took {time.monotonic() - campaign.begin_s:.0f} s")
    why = campaign.end()
    if why and options.trial is None and not options.minutes:
        failed += 1
        print(f"FAILED: {why}")
    passed = campaign.counts["trials passed"]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
