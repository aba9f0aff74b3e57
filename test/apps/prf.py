#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-prf as a user meets it: the same forest for any number of ranks and threads,
tables of all kinds, predictions, bad input, kills.

Usage: prf.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

from jobs import (Job, LIMIT_S, Skip, TRAIN_S, fails, get, main, make_idx, mpirun, put,
                  require, without_banners)

KEYS = """app ranks threads seed train_seconds samples_per_second test_metric test_value
bytes_sent comm_seconds compute_seconds wait_seconds peak_rss_bytes""".split()
SHARDED = ["--rows", "sharded", "--table-ranks", "1"]
COLORS = "red green blue grey".split()


def write_table(path, rows, seed=1, noise=0.0, header=True):
    """A number, a number with gaps, words, an all-missing column, a constant one, whose
    class depends on the first three; weight; class."""
    rng = random.Random(seed)
    lines = ["size,gap,color,none,same,weight,kind"] if header else []
    for _ in range(rows):
        size, gap, color = rng.random(), rng.random(), rng.choice(COLORS)
        missing = rng.random() < 0.3
        high = (size > 0.5) != (color in ("red", "blue")) if missing else gap > 0.4
        if rng.random() < noise:
            high = not high
        lines.append(f"{size:.4f},{'' if missing else f'{gap:.3f}'},{color},NA,7,"
                     f"{rng.randrange(1, 4)},{'high' if high else 'low'}")
    put(path, ("\n".join(lines) + "\n").encode())


def write_numbers(path, rows):
    rng = random.Random(5)
    text = "".join(f"{a:.5f}\t{b}\t{c:.2f}\t{10 * a + b * c:.4f}\n" for a, b, c in (
        (rng.random(), rng.randrange(5), rng.random()) for _ in range(rows)))
    put(path, text.encode())


def report_of(folder, nranks, *words):
    mpirun(folder, nranks, "train", *words, "--quiet", "--report", "r.json")
    with open(os.path.join(folder, "r.json"), encoding="utf-8") as file:
        return json.load(file)


def alone(folder, *words, stdin=None):
    """Standard output of the program without a launcher."""
    done = subprocess.run([Job.program, *words], cwd=folder, capture_output=True,
                          timeout=TRAIN_S, input=stdin, check=False)
    require(done.returncode == 0, f"{words}: {done.stderr.decode()}")
    return done.stdout.decode()


# ---- the same forest -------------------------------------------------------------------

def same_forest(folder, nranks, words):
    alone(folder, "train", *words, "--threads", "1", "--quiet", "--model", "one.dml")
    for number, more in enumerate((["--threads", "1"], ["--threads", "2"],
                                   ["--threads", "1", "--table-ranks", "1"],
                                   ["--partition", "rows"], ["--partition", "features"],
                                   SHARDED)):
        if more == SHARDED and "permutation" in words:
            continue
        name = f"again{number}.dml"
        mpirun(folder, nranks, "train", *words, *more, "--quiet", "--model", name)
        require(get(os.path.join(folder, name)) == get(os.path.join(folder, "one.dml")),
                f"another forest with {more}")
    for isa in "c", "avx2":
        env = dict(os.environ, DML_ISA=isa)
        done = subprocess.run([Job.program, "train", *words, "--quiet", "--model", "i.dml"],
                              cwd=folder, env=env, capture_output=True, check=False)
        if done.returncode == 0:
            require(get(os.path.join(folder, "i.dml")) ==
                    get(os.path.join(folder, "one.dml")), f"another forest with {isa}")


def same_classes(nranks):
    def case(folder):
        write_table(os.path.join(folder, "t.csv"), 3000, noise=0.1)
        same_forest(folder, nranks, ["--data", "t.csv", "--trees", "9"])
        same_forest(folder, nranks, ["--data", "t.csv", "--trees", "5", "--criterion",
                                     "gain-ratio", "--weights", "weight"])
    return case


def same_large(nranks):
    """So many cells that subtrees are copied to a block of their own."""
    def case(folder):
        rng = random.Random(4)
        with open(os.path.join(folder, "t.svm"), "w", encoding="utf-8") as file:
            for row in range(3000):
                cells = [rng.randrange(9) for _ in range(12)]
                label = int(sum(cells[:3]) > 12) ^ (rng.random() < 0.1)
                file.write(f"{label} " + " ".join(
                    f"{90 * i}:{v}" for i, v in enumerate(cells)) + "\n")
        same_forest(folder, nranks, ["--data", "t.svm", "--format", "libsvm", "--trees",
                                     "3"])
    return case


def same_numbers(nranks):
    def case(folder):
        write_numbers(os.path.join(folder, "n.tsv"), 2000)
        same_forest(folder, nranks, ["--data", "n.tsv", "--trees", "7"])
    return case


def same_images(nranks):
    def case(folder):
        make_idx(os.path.join(folder, "idx"))
        same_forest(folder, nranks, ["--data", "idx", "--trees", "6", "--importance",
                                     "permutation"])
    return case


# ---- what comes out --------------------------------------------------------------------

def classes_are_learnt(nranks):
    def case(folder):
        write_table(os.path.join(folder, "t.csv"), 2500)
        report = report_of(folder, nranks, "--data", "t.csv", "--train-rows", "2000",
                           "--trees", "30", "--model", "m.dml", "--mtry", "3",
                           "--importance-file", "i.jsonl")
        for key in KEYS:
            require(key in report, f"the report has no {key}")
        require(report["app"] == "dml-prf" and report["ranks"] == nranks, "app or ranks")
        require(report["test_metric"] == "accuracy" and report["test_rows"] == 500, "test")
        require(report["test_value"] > 0.97, f"accuracy {report['test_value']}")
        require(abs(report["oob_value"] - report["test_value"]) < 0.03, "out of bag")
        lines = [json.loads(line) for line in
                 get(os.path.join(folder, "i.jsonl")).decode().splitlines()]
        share = {line["feature"]: line["importance"] for line in lines}
        require(share["none"] == 0 and share["same"] == 0, f"importance {share}")
        require(min(share["size"], share["gap"], share["color"]) > 0.05, f"{share}")
        require(abs(sum(share.values()) - 1) < 1e-6, "importance does not sum to 1")
    return case


def goes_where_it_shall(folder, found):
    """Standard output that is a regular file gets what a pipe gets; a link stays one."""
    words = [Job.program, "predict", "--model", "m.dml", "--data", "new.csv", "--quiet"]
    path = os.path.join(folder, "to.txt")
    for name in ("-", "/proc/self/fd/1"):
        with open(path, "wb") as file:
            subprocess.run([*words, "--out", name], cwd=folder, stdout=file,
                           timeout=TRAIN_S, check=True)
        require(get(path).decode() == found, f"--out {name} into a file")
    os.symlink("to.txt", os.path.join(folder, "link.txt"))
    put(path, b"old")
    subprocess.run([*words, "--out", "link.txt"], cwd=folder, timeout=TRAIN_S, check=True)
    require(os.path.islink(os.path.join(folder, "link.txt")), "the link is gone")
    require(get(path).decode() == found, "not written where the link leads")


def predictions(nranks):
    def case(folder):
        table = os.path.join(folder, "t.csv")
        write_table(table, 600, noise=0.1)
        report = report_of(folder, nranks, "--data", "t.csv", "--train-rows", "500",
                           "--trees", "11", "--model", "m.dml")
        rows = get(table).decode().splitlines()
        truth = [row.split(",")[-1] for row in rows[501:]]
        tail = "\n".join([rows[0], *rows[501:]]) + "\n"
        found = alone(folder, "predict", "--model", "m.dml", stdin=tail.encode())
        right = sum(a == b for a, b in zip(found.split(), truth)) / len(truth)
        require(abs(right - report["test_value"]) < 1e-9,
                f"{right} predicted right, {report['test_value']} in training")
        put(os.path.join(folder, "new.csv"), tail.encode())
        mpirun(folder, nranks, "predict", "--model", "m.dml", "--data", "new.csv", "--out",
               "p.txt", "--probabilities", "--quiet")
        goes_where_it_shall(folder, found)
        lines = get(os.path.join(folder, "p.txt")).decode().splitlines()
        require(lines[0] == "class,high,low", f"head {lines[0]}")
        for line, name in zip(lines[1:], found.split()):
            cells = line.split(",")
            require(cells[0] == name, "other classes on other ranks")
            require(abs(float(cells[1]) + float(cells[2]) - 1) < 2e-3, line)
        # Without labels, with a word and a class that training has not seen.
        bare = "color,size,gap,none,same,weight\npink,0.4,0.2,,7,1\nred,0.4,,,7,2\n"
        found = alone(folder, "predict", "--model", "m.dml", stdin=bare.encode())
        require(len(found.split()) == 2 and set(found.split()) <= {"high", "low"}, found)
        require("importance" in alone(folder, "info", "--model", "m.dml"), "info")
    return case


def weighted_vote(folder):
    """With a fifth of the labels wrong and few features that matter, trees differ."""
    rng = random.Random(3)
    wins = 0
    for number in range(3):
        lines = []
        for row in range(3000):
            x = [rng.random() for _ in range(30)]
            y = x[0] > 0.5
            if row < 1000 and rng.random() < 0.2:
                y = not y
            lines.append(",".join(f"{v:.3f}" for v in x) + f",{int(y)}")
        put(os.path.join(folder, "t.csv"), ("\n".join(lines) + "\n").encode())
        report = report_of(folder, 1, "--data", "t.csv", "--train-rows", "1000", "--trees",
                           "60", "--mtry", "1", "--max-depth", "3", "--seed", str(number))
        wins += report["test_weighted"] > report["test_plain"]
    require(wins == 3, f"the weighted vote won {wins} of 3")


def numbers_are_learnt(folder):
    write_numbers(os.path.join(folder, "n.tsv"), 2000)
    report = report_of(folder, 1, "--data", "n.tsv", "--test-every", "5", "--trees", "30",
                       "--mtry", "3", "--model", "m.dml")
    require(report["test_metric"] == "r2" and report["test_value"] > 0.97,
            f"{report['test_metric']} {report['test_value']}")
    found = alone(folder, "predict", "--model", "m.dml", stdin=b"0.5\t2\t0.5\n0\t0\t0\n")
    first, second = (float(line) for line in found.split())
    require(abs(first - 6) < 1 and abs(second) < 1, found)


def wide(folder):
    """10^5 columns, of which one tells the class."""
    rng = random.Random(2)
    lines = []
    for row in range(60):
        label = row % 2
        index = sorted(rng.sample(range(1, 99999), 20))
        lines.append(f"{label} 0:{label + rng.random() / 2:.3f} " +
                     " ".join(f"{i}:1" for i in index) + " 99999:1")
    put(os.path.join(folder, "w.svm"), ("\n".join(lines) + "\n").encode())
    report = report_of(folder, 1, "--data", "w.svm", "--format", "libsvm", "--test-every",
                       "4", "--trees", "3", "--mtry", "100000")
    require(report["features"] == 100000 and report["test_value"] == 1.0, f"{report}")


def odd_tables(folder):
    """One row; one class; more trees than rows; duplicates."""
    for text in ("1,2,a\n", "1,2,a\n3,4,a\n", "1,1,a\n" * 50 + "1,1,b\n" * 50):
        put(os.path.join(folder, "t.csv"), text.encode())
        report_of(folder, 1, "--data", "t.csv", "--trees", "5", "--model", "m.dml")
        found = alone(folder, "predict", "--model", "m.dml", stdin=b"1,2\n")
        require(found.strip() in ("a", "b"), found)


def unseen_label(folder):
    put(os.path.join(folder, "t.csv"), b"1,a\n2,b\n" * 20)
    put(os.path.join(folder, "u.csv"), b"1,a\n2,c\n1,c\n2,b\n")
    report = report_of(folder, 1, "--data", "t.csv", "--test", "u.csv", "--trees", "5")
    require(report["test_value"] == 0.5, f"accuracy {report['test_value']}")


XGBOOST = """
import json, sys
import numpy, xgboost
booster = xgboost.Booster()
booster.load_model("m.json")
rows = numpy.loadtxt("n.tsv").astype(numpy.float32)[:, :3]
found = booster.predict(xgboost.DMatrix(rows), output_margin=True)
numpy.savetxt("x.txt", found.reshape(len(rows), -1))
"""


def exported(folder):
    """XGBoost finds the same numbers and probabilities in an exported forest."""
    write_numbers(os.path.join(folder, "n.tsv"), 300)
    if subprocess.run(["python3", "-c", "import xgboost"], capture_output=True,
                      check=False).returncode != 0:
        raise Skip("python3 has no xgboost")
    for task in "regression", "class":
        data = get(os.path.join(folder, "n.tsv")).decode().splitlines()
        if task == "class":
            data = [row.rsplit("\t", 1)[0] + f"\t{int(float(row.split()[-1]) / 4)}"
                    for row in data]
        put(os.path.join(folder, "d.tsv"), ("\n".join(data) + "\n").encode())
        alone(folder, "train", "--data", "d.tsv", "--task", task, "--trees", "7",
              "--min-leaf", "3", "--quiet", "--model", "m.dml")
        alone(folder, "export", "--model", "m.dml", "--out", "m.json")
        alone(folder, "predict", "--model", "m.dml", "--data", "d.tsv", "--out", "p.txt",
              "--quiet", "--probabilities")
        ran = subprocess.run(["python3", "-c", XGBOOST], cwd=folder, capture_output=True,
                             text=True, check=False)
        require(ran.returncode == 0, ran.stderr)
        mine = get(os.path.join(folder, "p.txt")).decode().splitlines()
        theirs = get(os.path.join(folder, "x.txt")).decode().splitlines()
        for row, other in zip(mine[len(mine) - len(theirs):], theirs):
            cells = row.split(",")[1:] if task == "class" else [row]
            for a, b in zip(cells, other.split()):
                require(abs(float(a) - float(b)) < 1e-4, f"{task}: {row} but {other}")


# ---- what goes wrong -------------------------------------------------------------------

BAD_TABLES = [
    ("no such file", None, [], ["not there"]),
    ("an empty table", b"", [], ["t.csv"]),
    ("a ragged row", b"1,2,a\n1,b\n", [], ["t.csv"]),
    ("no number", b"1,2,a\n1,2,b\n" * 9000 + b"x,2,b\n", [], ["t.csv"]),
    ("no column but the label", b"a\nb\n", [], ["label"]),
    ("no such label", b"1,2,a\n1,2,b\n", ["--label", "kind"], ["kind"]),
    ("no such category", b"1,2,a\n1,2,b\n", ["--categories", "9"], ["9"]),
    ("no row with a label", b"x,y\n1,\n2,\n", ["--label", "y"], ["no row with a label"]),
    ("two columns of one name", b"a,b,a,y\n1,2,3,u\n4,5,6,v\n", [],
     ["columns 1 and 3", '"a"']),
    ("a number beyond all", b"1,2,a\n1,2,b\n" * 9000 + b"1e300,2,b\n", [],
     ["t.csv:18001", "1e300", "beyond 3.4e38"]),
    ("an infinity among numbers", b"x,y\n1,a\n2,b\n-inf,a\n", [],
     ["t.csv:4", "column 1 (x)", '"-inf" is no finite number', "leave the cell empty"]),
    ("an infinite target", b"x,y\n1,1\n2,Infinity\n", ["--task", "regression"],
     ["t.csv:3", "column 2 (y)", '"Infinity"']),
    ("an index beyond all", b"1 1:1\n0 300000000:1\n", ["--format", "libsvm"],
     ["t.csv:2", "300000000"]),
    ("a range that is no number", b"1,1e308\n2,-1e308\n3,1.5\n",
     ["--task", "regression"], ["1e+308"]),
    ("a negative weight", b"1,2,a\n1,-2,b\n", ["--weights", "2"], ["weight"]),
    ("words as numbers", b"1,2,a\n1,2,b\n", ["--task", "regression"], ["no number"]),
    ("an unknown option", b"1,2,a\n", ["--tress", "3"], ["--tress"]),
    ("a model that is the table", b"1,2,a\n", ["--model", "./t.csv"],
     ["--model", "overwritten", "--data"]),
    ("a model where nothing can be", b"1,2,a\n", ["--model", "no/m"], ["no/m"]),
]


def bad_table(nranks, text, words, told):
    def case(folder):
        if text is not None:
            put(os.path.join(folder, "t.csv"), text)
        fails(folder, [Job.launcher, "-n", str(nranks), Job.program, "train", "--data",
                       "t.csv", "--quiet", *words], told)
        require(text is None or get(os.path.join(folder, "t.csv")) == text, "changed")
    return case


ROWS = b"x,y\n1,a\n2,b\n3,a\n4,b\n"

# (name, least ranks, standard input, words, what is told; None: it works)
STANDARD_INPUTS = [
    ("rows", 1, ROWS, ["--data", "-"], None),
    ("sharded rows", 1, ROWS, ["--data", "-", "--rows", "sharded"], None),
    ("test rows", 1, ROWS, ["--data", "t.csv", "--test", "-"], None),
    ("both", 1, ROWS, ["--data", "-", "--test", "-"], ["--test -", "read once", "file"]),
    ("libsvm", 1, b"1 1:1\n0 1:2\n", ["--data", "-", "--format", "libsvm"],
     ["--format libsvm", "read once", "put them in a file"]),
    ("too many rows", 1, ROWS[:4] + ROWS[4:] * (2**18 + 1), ["--data", "-"],
     ["more than 1048576 rows", "read once", "put them in a file"]),
    ("several tables", 2, ROWS, ["--data", "-", "--table-ranks", "1"],
     ["--data -", "by rank 0", "2 ranks read the rows", "--table-ranks", "file"]),
    ("tests of several tables", 2, ROWS,
     ["--data", "t.csv", "--test", "-", "--table-ranks", "1"], ["--test -", "by rank 0"]),
]


def standard_input(nranks, data, words, told):
    """What can be read once cannot be read twice, and the line says so."""
    def case(folder):
        put(os.path.join(folder, "t.csv"), ROWS)
        done = subprocess.run(
            [Job.launcher, "-n", str(nranks), Job.program, "train", *words, "--trees", "1",
             "--quiet"], cwd=folder, input=data, capture_output=True, timeout=TRAIN_S,
            check=False)
        lines = without_banners(done.stderr.decode())
        require((done.returncode == 0) == (told is None), f"{done.returncode}: {lines}")
        require(len(lines) == (told is not None), lines)
        for word in told or []:
            require(word in lines[0], f"no \"{word}\" in {lines[0]}")
    return case


def missing_labels(folder):
    """Rows whose label is a word for "no value" are left out; it is no class."""
    put(os.path.join(folder, "t.csv"), b"x,y\n" + b"1,a\n2,NA\n3,b\n4,nan\n5,?\n" * 20)
    put(os.path.join(folder, "u.csv"), b"x,y\n" + b"1,a\n3,b\n" * 20)
    for name in "t", "u":
        alone(folder, "train", "--data", name + ".csv", "--trees", "3", "--quiet",
              "--threads", "1", "--model", name + ".dml")
        told = alone(folder, "info", "--model", name + ".dml")
        require("nan" not in told and "NA" not in told.split(), told)
        probable = alone(folder, "predict", "--model", name + ".dml", "--data", "u.csv",
                         "--probabilities", "--quiet", "--out", "-")
        require(probable.startswith("class,a,b\n"), probable[:80])


def bad_models(nranks):
    def case(folder):
        write_table(os.path.join(folder, "t.csv"), 200)
        alone(folder, "train", "--data", "t.csv", "--trees", "3", "--quiet", "--model",
              "good.dml")
        good = get(os.path.join(folder, "good.dml"))
        damaged = bytearray(good)
        damaged[len(good) // 2] ^= 1
        for data, words in ((b"", ["wrong first bytes"]), (good[:-9], ["checksum"]),
                            (bytes(damaged), ["checksum"]), (good + b"x", ["checksum"]),
                            (b"DMLCNN\r\n" + good[8:], ["wrong first bytes"])):
            put(os.path.join(folder, "m.dml"), data)
            fails(folder, [Job.launcher, "-n", str(nranks), Job.program, "predict",
                           "--model", "m.dml", "--data", "t.csv", "--out", "p.txt"], words)
        fails(folder, [Job.program, "info", "--model", "none.dml"], ["No such file"])
        fails(folder, [Job.program, "info", "--model", "."], ["directory"])
    return case


def killed(nranks):
    def case(folder):
        table = os.path.join(folder, "t.csv")
        write_table(table, 20000, noise=0.3)
        job = Job([Job.launcher, "-n", nranks, Job.program, "train", "--data", "t.csv",
                   "--trees", "30000", "--threads", "1", "--model", "m.dml", "--report",
                   "r.json"], folder)
        deadline = time.monotonic() + TRAIN_S
        while "20000 rows" not in job.text(job.out):
            require(time.monotonic() < deadline, job.told("waited in vain for training"))
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(job.ranks()[-1], signal.SIGKILL)
        status = job.end(LIMIT_S)
        require(status != 0, job.told("exit status 0 after a kill"))
        left = sorted(os.listdir(folder))
        require(left == ["t.csv"], job.told(f"files left behind: {left}"))
    return case


def make_cases(top, nranks):
    made = [("* the same forest, classes", same_classes(nranks)),
            ("the same forest, many cells", same_large(nranks)),
            ("the same forest, numbers", same_numbers(nranks)),
            ("the same forest, images", same_images(nranks)),
            ("* classes are learnt", classes_are_learnt(nranks)),
            ("predictions", predictions(nranks)),
            ("* bad models", bad_models(nranks)),
            ("a rank killed", killed(nranks))]
    if nranks <= 2:
        made += [(f"standard input: {name}", standard_input(nranks, *case))
                 for name, least, *case in STANDARD_INPUTS if nranks >= least]
    if nranks == 1:
        made += [("weighted vote", weighted_vote), ("numbers are learnt", numbers_are_learnt),
                 ("wide", wide), ("odd tables", odd_tables), ("unseen label", unseen_label),
                 ("exported", exported), ("missing labels", missing_labels)]
    if nranks == 2:
        made += [(name, bad_table(nranks, text, words, told))
                 for name, text, words, told in BAD_TABLES]
    return made


if __name__ == "__main__":
    sys.exit(main(make_cases))
