#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-skew as a user meets it: jobs whose results are compared with Python's, tables on
generated data, and bad input, which must end the whole job with one clear line.

Usage: skew.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
"""

import collections
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time

from jobs import (Job, LIMIT_S, Skip, TRAIN_S, fails, get, main, mpirun, put, require,
                  without_banners)

PLOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/plot")
ORDERED = ["range", "libra", "ksrp"]
PLANNERS = ["hash", "scid", "krhp"] + ORDERED
LINES = 4000


def zipf_lines(count, seed):
    """Lines of a key and a number; a third of them have one key."""
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        key = 7 if rng.random() < 0.33 else int(rng.paretovariate(0.7)) % 500
        lines.append(f"w{key}\t{rng.randrange(-500, 500) / 4}")
    return lines


def write_lines(path, lines, end="\n"):
    put(path, "".join(line + end for line in lines).encode())


def parts(folder, nranks):
    """The lines of all ranks' files, in the order of the ranks."""
    found = []
    for rank in range(nranks):
        found += get(os.path.join(folder, f"out.{rank}")).decode().splitlines()
    return found


def alone(folder, *words):
    """A command without a launcher; its standard output."""
    done = subprocess.run([Job.program, *words], cwd=folder, capture_output=True,
                          text=True, timeout=TRAIN_S)
    lines = without_banners(done.stderr)
    require(done.returncode == 0 and not lines, f"{words}: {done.stderr}")
    return done.stdout


class Cases:
    def __init__(self, top, nranks):
        self.nranks = nranks
        self.lines = zipf_lines(LINES, 3)
        self.data = os.path.join(top, "lines.tsv")
        write_lines(self.data, self.lines)
        self.packed = os.path.join(top, "packed.gz")
        put(self.packed, gzip.compress(get(self.data)))

    # ---- jobs --------------------------------------------------------------------------

    def job(self, folder, *words):
        mpirun(folder, self.nranks, *words, "--quiet", "--out", "out", "--report",
               "report.json")
        with open(os.path.join(folder, "report.json"), encoding="utf-8") as file:
            return json.load(file)

    def sorts(self, folder):
        for planner in ORDERED:
            report = self.job(folder, "sort", "--data", self.data, "--planner", planner,
                              "--rate", "0.2")
            # Lines of one key may lie on ranks in a row, sorted on each of them.
            keys = [line.split("\t")[0] for line in parts(folder, self.nranks)]
            require(keys == sorted(keys), f"{planner}: not sorted")
            require(sorted(parts(folder, self.nranks)) == sorted(self.lines),
                    f"{planner}: other lines")
            require(report["records"] == LINES, f"{report['records']} records")
            for phase in "read", "sample", "plan", "exchange", "sort":
                require(report["phases"][phase]["seconds"] >= 0, phase)
            require(report["makespan_seconds"] > 0 and
                    report["virtual_makespan_seconds"] > 0, "no makespan")

    def sorts_numbers(self, folder):
        self.job(folder, "sort", "--data", self.packed, "--key", "2", "--as", "number")
        numbers = [float(line.split("\t")[1]) for line in parts(folder, self.nranks)]
        require(numbers == sorted(numbers), "not sorted")
        require(sorted(parts(folder, self.nranks)) == sorted(self.lines), "other lines")

    def sorts_whole_lines(self, folder):
        lines = [line.replace("\t", " ") for line in self.lines[:50]] + ["", "a", ""]
        write_lines(os.path.join(folder, "text"), lines, "\r\n")
        self.job(folder, "sort", "--data", "text", "--key", "line")
        require(parts(folder, self.nranks) == sorted(lines), "not sorted")

    def counts(self, folder):
        wanted = collections.Counter(line.split("\t")[0] for line in self.lines)
        for planner in PLANNERS:
            report = self.job(folder, "count", "--data", self.data, "--planner", planner,
                              "--rate", "0.2")
            pairs = [line.split("\t") for line in parts(folder, self.nranks)]
            require(len(pairs) == len(wanted) and
                    {word: int(n) for word, n in pairs} == wanted,
                    f"{planner}: other counts")
            require(1 <= report["test_value"] <= self.nranks, f"{report['test_value']}")

    def counts_words(self, folder):
        text = "the cat\tthe  dog\n\n the\nend"
        put(os.path.join(folder, "text"), text.encode())
        self.job(folder, "count", "--data", "text", "--key", "words")
        pairs = dict(line.split("\t") for line in parts(folder, self.nranks))
        require({k: int(v) for k, v in pairs.items()} ==
                collections.Counter(text.split()), str(pairs))

    def balances(self, folder):
        """A third of the lines has one key: only splitting it helps from 4 ranks on."""
        seen = {}
        for planner in "range", "ksrp":
            report = self.job(folder, "sort", "--data", self.data, "--planner", planner,
                              "--rate", "1")
            seen[planner] = report["test_value"]
        require(seen["ksrp"] < 1.08, f"imbalance {seen['ksrp']}")
        require(self.nranks < 4 or seen["range"] > 1.2, f"range: {seen['range']}")

    def few_records(self, folder):
        for text in b"", b"b\t1\n", b"b\t1\na\t2":
            put(os.path.join(folder, "few"), text)
            wanted = sorted(text.decode().splitlines())
            for planner in ORDERED:
                self.job(folder, "sort", "--data", "few", "--planner", planner)
                require(parts(folder, self.nranks) == wanted, f"{planner}: {text}")
            self.job(folder, "count", "--data", "few", "--planner", "scid")

    def makes(self, folder):
        for order in "shuffled", "clustered", "sorted":
            mpirun(folder, self.nranks, "make", "--out", "zipf", "--records", "3000",
                   "--keys", "50", "--order", order, "--payload", "3")
            keys = [line.split("\t")[0]
                    for line in get(os.path.join(folder, "zipf")).decode().splitlines()]
            require(len(keys) == 3000 and len(set(keys)) <= 50, f"{order}: keys")
            top = collections.Counter(keys).most_common(1)[0][1]
            require(order == "clustered" or 600 < top < 1300, f"{order}: {top}")

    # ---- tables ------------------------------------------------------------------------

    def compares(self, folder):
        write_lines(os.path.join(folder, "t.csv"),
                    ["word,value"] + [line.replace("\t", ",") for line in self.lines])
        out = alone(folder, "compare", "--data", "t.csv", "--key", "word", "--ranks", "8",
                    "--rate", "0.5", "--json", "c.json")
        with open(os.path.join(folder, "c.json"), encoding="utf-8") as file:
            value = json.load(file)
        require([p["planner"] for p in value["planners"]] ==
                ["hash", "range", "scid", "libra", "krhp", "ksrp"], "planners")
        require(value["records"] == LINES and
                value["distinct_keys"] == len({l.split("\t")[0] for l in self.lines}),
                "another number of records or keys")
        by_name = {p["planner"]: p for p in value["planners"]}
        for name, planner in by_name.items():
            require(name in out, f"{name} is not in the table")
            require(sum(planner["loads"]) == LINES and len(planner["loads"]) == 8,
                    f"{name}: loads {planner['loads']}")
            most = max(planner["loads"]) * 8 / LINES
            require(abs(planner["imbalance"] - most) < 1e-6, f"{name}: imbalance")
        require(by_name["ksrp"]["imbalance"] < by_name["hash"]["imbalance"], "ksrp")
        done = subprocess.run([PLOT, "c.json", "-o", "c.png"], cwd=folder, text=True,
                              capture_output=True, timeout=TRAIN_S)
        if "matplotlib is missing" in done.stderr:
            raise Skip("matplotlib is not installed")
        require(done.returncode == 0 and not done.stderr, done.stderr)
        require(os.path.getsize(os.path.join(folder, "c.png")) > 5000, "a tiny picture")

    def weighs(self, folder):
        """Loads are sums of a column, or of its squares; plans are made by them."""
        rows = [line.split("\t")[0] for line in self.lines]
        middle = sorted(rows)[len(rows) // 2]
        weights = [30 if row > middle else 1 for row in rows]
        write_lines(os.path.join(folder, "t.csv"),
                    ["word,tokens"] + [f"{w},{n}" for w, n in zip(rows, weights)])
        for cost, wanted in (("value", sum(weights)),
                             ("square", sum(w * w for w in weights))):
            alone(folder, "compare", "--data", "t.csv", "--key", "word", "--ranks", "4",
                  "--rate", "0.5", "--weight", "tokens", "--cost", cost, "--json", "c.json")
            with open(os.path.join(folder, "c.json"), encoding="utf-8") as file:
                planners = json.load(file)["planners"]
            for p in planners: # by count, ksrp's imbalance would be 1.9
                require(abs(sum(p["loads"]) - wanted) < 1e-6 * wanted and
                        (p["planner"] != "ksrp" or p["imbalance"] < 1.15), f"{cost}: {p}")
        out = alone(folder, "plan", "--data", "t.csv", "--key", "tokens", "--weight", "2",
                    "--as", "number", "--rate", "1")
        require("load: column 2" in out and "of share" in out, out)

    def full_standard_output(self, folder):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([Job.program, "compare", "--data", self.data, "--ranks",
                                   "8"], cwd=folder, stdout=full, text=True,
                                  stderr=subprocess.PIPE, timeout=TRAIN_S)
        require(done.returncode == 1 and "cannot write to standard output" in done.stderr,
                f"{done.returncode} {done.stderr}")

    def formats(self, folder):
        put(os.path.join(folder, "c.conll"), b"the DT\ncat NN\n\nthe DT\n")
        put(os.path.join(folder, "text"), b"one two  two\nthree")
        for words, records, keys in (
                (["c.conll", "--key", "1"], 3, 2), (["c.conll", "--key", "-1"], 3, 2),
                (["text", "--format", "words"], 4, 3),
                ([self.data, "--key", "2", "--as", "number"], LINES, None)):
            out = alone(folder, "plan", "--rate", "1", "--planner", "krhp", "--data", *words)
            require(f"{records} records" in out, out)
            require(keys is None or f"{keys} keys" in out, out)

    def last_column(self, folder):
        self.job(folder, "sort", "--data", self.data, "--key", "-1", "--as", "number")
        numbers = [float(line.split("\t")[1]) for line in parts(folder, self.nranks)]
        require(numbers == sorted(numbers) and len(numbers) == LINES, "not sorted")
        self.job(folder, "count", "--data", self.data, "--key", "-1")
        wanted = collections.Counter(line.split("\t")[1] for line in self.lines)
        pairs = dict(line.split("\t") for line in parts(folder, self.nranks))
        require({word: int(n) for word, n in pairs.items()} == wanted, "other counts")

    def long_numbers(self, folder):
        numbers = ["1" * 70, "2", "0." + "0" * 60 + "1" * 40]
        write_lines(os.path.join(folder, "t"), numbers)
        self.job(folder, "sort", "--data", "t", "--as", "number")
        require(parts(folder, self.nranks) == [numbers[2], numbers[1], numbers[0]], "order")

    # ---- bad input ---------------------------------------------------------------------

    def refuses(self, command, text, options, words, name="bad"):
        """A case: a file of these bytes, and what the line must hold."""
        def case(folder):
            if text is not None:
                put(os.path.join(folder, name), text)
            data = ["--data", name] if name else []
            launched = command in ("sort", "count", "make")
            before = [Job.launcher, "-n", self.nranks] if launched else []
            fails(folder, [*before, Job.program, command, *data, *options], words)
        return case

    def keeps(self, command, files, options, words):
        """A case that is refused and leaves these files {name: bytes} as they are."""
        def case(folder):
            for name, data in files.items():
                put(os.path.join(folder, name), data)
            before = [Job.launcher, "-n", self.nranks] if command in ("sort", "count") else []
            fails(folder, [*before, Job.program, command, *options], words)
            for name, data in files.items():
                require(get(os.path.join(folder, name)) == data, f"{name} was changed")
        return case

    def full_disk(self, folder):
        """The last rank cannot write its part: no other gets its name."""
        put(os.path.join(folder, "older"), b"older")
        for rank in range(self.nranks - 1):
            os.link(os.path.join(folder, "older"), os.path.join(folder, f"out.{rank}"))
        os.symlink("/dev/full", os.path.join(folder, f"out.{self.nranks - 1}"))
        for command in "sort", "count":
            fails(folder, [Job.launcher, "-n", self.nranks, Job.program, command, "--data",
                           self.data, "--out", "out"],
                  [f"out.{self.nranks - 1}", "make room"])
        for rank in range(self.nranks - 1):
            require(get(os.path.join(folder, f"out.{rank}")) == b"older", f"out.{rank}")
        fails(folder, [Job.program, "make", "--out", "/dev/full"], ["/dev/full", "room"])

    def pipe_as_data(self, folder):
        os.mkfifo(os.path.join(folder, "pipe"))
        for command in "sort", "count":
            fails(folder, [Job.launcher, "-n", self.nranks, Job.program, command, "--data",
                           "pipe"], ["pipe", "regular file"])

    def help_texts(self, _):
        """They explain what compare shows, and that sort without --out keeps nothing."""
        def told(command):
            return " ".join(subprocess.run([Job.program, command, "--help"], text=True,
                                           capture_output=True, check=True).stdout.split())

        shown = subprocess.run([Job.program, "compare", "--data", self.data, "--key", "1"],
                               capture_output=True, text=True, check=True).stdout
        head = next(line for line in shown.splitlines() if line.startswith("planner"))
        columns = ["max/mean", "cv", "predicted", "load error", "bytes moved", "plan ms",
                   "ns/route", "split"]
        require(head.split() == ["planner", *" ".join(columns).split()], head)
        for column in columns:
            require(f" {column} " in told("compare"), f"{column} is not explained")
        for command in "sort", "count":
            require("without it the result is thrown away" in told(command), command)

    def full_output(self, folder):
        put(os.path.join(folder, "t"), b"a b\nc d\n")
        for words in ["--help"], ["plan", "--help"], ["compare", "--data", "t"]:
            for where in ">/dev/full", ">&-":
                done = subprocess.run(["sh", "-c", f'"$@" {where}', "sh", Job.program, *words],
                                      cwd=folder, capture_output=True, text=True,
                                      timeout=TRAIN_S)
                lines = without_banners(done.stderr)
                require(done.returncode == 1 and len(lines) == 1 and
                        "standard output" in lines[0], f"{words} {where}: {done}")

    def simulated_under_mpirun(self, folder):
        if self.nranks == 1:
            raise Skip("needs a second rank")
        fails(folder, [Job.launcher, "-n", self.nranks, Job.program, "compare", "--data",
                       self.data], ["without mpirun"])

    def killed(self, folder):
        """A rank is killed while all of them work: the job ends, and leaves no report."""
        mpirun(folder, 1, "make", "--out", "big", "--records", "600000")
        job = Job([Job.launcher, "-n", self.nranks, Job.program, "sort", "--data", "big",
                   "--report", "report.json"], folder)
        deadline = time.monotonic() + TRAIN_S
        while len(job.ranks()) < self.nranks:
            require(time.monotonic() < deadline and job.process.poll() is None,
                    job.told("the ranks did not start"))
        os.kill(job.ranks()[-1], signal.SIGKILL)
        status = job.end(LIMIT_S)
        require(status != 0, job.told("exit status 0 after a kill"))
        ours = [line for line in without_banners(job.text(job.err))
                if line.startswith("dml-skew")]
        require(len(ours) <= 1, job.told(f"{len(ours)} lines of dml-skew"))
        require("report.json" not in os.listdir(folder), "a report was written")


def make_cases(top, nranks):
    c = Cases(top, nranks)
    cases = [
        ("sort is Python's", c.sorts), ("sort by numbers, gzip", c.sorts_numbers),
        ("sort whole lines, CRLF", c.sorts_whole_lines), ("count is Python's", c.counts),
        ("count words", c.counts_words), ("a heavy key is split", c.balances),
        ("the last column", c.last_column), ("long numbers", c.long_numbers),
        ("more ranks than records", c.few_records), ("make", c.makes),
        ("bad: missing file", c.refuses("sort", None, [], ["bad", "check the path"])),
        ("bad: no file", c.refuses("count", None, [], ["--data FILE"], name=None)),
        ("bad: no such column", c.refuses("sort", b"a\tb\na\n", ["--key", "2"],
                                          ["bad", "line 2", "no column 2"])),
        ("bad: no column from the end", c.refuses("sort", b"a\tb\n", ["--key", "-3"],
                                                  ["line 1", "no column -3"])),
        ("bad: key is a word", c.refuses("sort", b"a\n", ["--key", "x"],
                                         ["--key x", "column"])),
        ("bad: not a number", c.refuses("sort", b"1\n2\nx7\n", ["--as", "number"],
                                        ["line 3", "x7", "--as text"])),
        ("bad: zero byte", c.refuses("count", b"a\nb\0c\n", [], ["bad", "zero byte"])),
        ("bad: gzip cut short", c.refuses("count", gzip.compress(bytes(range(65, 90)) *
                                                                 999)[:-20], [],
                                          ["bad"])),
        ("bad: planner without order", c.refuses("sort", b"a\n", ["--planner", "krhp"],
                                                 ["krhp", "order", "ksrp"])),
        ("bad: part not writable", c.refuses("sort", b"a\n", ["--out", "no/where"],
                                             ["no/where", "cannot write"])),
        ("bad: report not writable", c.refuses("sort", b"a\n",
                                               ["--report", "no/where.json"],
                                               ["no/where.json"])),
        ("bad: long line", c.refuses("sort", b"a\n" + b"x" * 200, ["--max-bytes", "100"],
                                     ["bad:2", "too long; raise the limit"])),
        ("bad: report is data", c.keeps("sort", {"t": b"b\na\n"},
                                        ["--data", "t", "--report", "./t"],
                                        ["t", "--data"])),
        ("bad: part is data", c.keeps("sort", {f"in.{nranks - 1}": b"b\na\n"},
                                      ["--data", f"in.{nranks - 1}", "--out", "in"],
                                      [f"in.{nranks - 1}", "--data"])),
        ("bad: part is report", c.keeps("count", {"t": b"b\na\n"},
                                        ["--data", "t", "--out", "rr", "--report", "rr.0"],
                                        ["rr.0", "--report"])),
        ("bad: parts of more ranks", c.keeps("count", {"t": b"b\n", f"st.{nranks + 1}": b"x"},
                                             ["--data", "t", "--out", "st"],
                                             [f"st.{nranks + 1}", "remove it"])),
        ("bad: full disk", c.full_disk), ("bad: a pipe as data", c.pipe_as_data),
        ("killed", c.killed),
        ("compare under mpirun", c.simulated_under_mpirun),
    ]
    if nranks > 1:  # what does not depend on the number of ranks runs once
        return cases
    return cases + [
        ("compare", c.compares), ("weights", c.weighs), ("formats", c.formats),
        ("full standard output", c.full_standard_output),
        ("bad: column by name", c.refuses("compare", b"a,b\n1,2\n3,4\n",
                                          ["--format", "table", "--key", "c"], ["c"])),
        ("bad: weight that is no number",
         c.refuses("compare", b"a,b\n1,2\n3,x\n", ["--format", "table", "--weight", "b"],
                   ["bad", "row 2", "weight \"x\""])),
        ("bad: weights of 0",
         c.refuses("compare", b"a,b\n1,0\n3,0\n", ["--format", "table", "--weight", "b"],
                   ["bad", "column b are 0"])),
        ("bad: cost without weight", c.refuses("compare", b"a,b\n1,0\n", ["--cost", "square"],
                                               ["--cost needs --weight"])),
        ("bad: weight below 0",
         c.refuses("compare", b"a,b\n1,2\n3,-1\n", ["--format", "table", "--weight", "b"],
                   ["bad", "row 2", "weight \"-1\""])),
        ("bad: weight of a corpus", c.refuses("compare", b"a b\nc d\n", ["--weight", "2"],
                                              ["bad", "--format table"])),
        ("bad: ragged rows", c.refuses("compare", b"a,b\n1,2\n3\n4,5\n",
                                       ["--format", "table"], ["bad", "3"])),
        ("bad: empty", c.refuses("compare", b"", [], ["bad", "no record"])),
        ("bad: zero byte in a table", c.refuses("compare", b"a,b\n1,2\n3\0,4\n",
                                                ["--format", "table"], ["bad"])),
        ("bad: column of a corpus", c.refuses("compare", b"a b\nc d\n", ["--key", "3"],
                                              ["--key 3", "1 to 2"])),
        ("bad: json is data", c.keeps("plan", {"t.tsv": b"a\tb\nc\td\n"},
                                      ["--data", "t.tsv", "--json", "t.tsv"],
                                      ["t.tsv", "--data"])),
        ("bad: not a number, compared", c.refuses("compare", b"x y\n", ["--as", "number"],
                                                  ["bad, row 1", "\"x\""])),
        ("bad: full output", c.full_output),
        ("help", c.help_texts),
        ("bad: json not writable", c.refuses("compare", b"a b\n", ["--json", "no/c.json"],
                                             ["no/c.json"])),
        ("bad: option", c.refuses("plan", None, ["--rat", "2"], ["--rate", "2"])),
    ]


if __name__ == "__main__":
    sys.exit(main(make_cases))
