#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-crf does its work on small generated text, and says what is wrong with bad input.

Usage: crf.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
Two ranks meet every case; other numbers, and sanitized builds, those marked with a "*".
"""

import json
import math
import os
import random
import subprocess
import sys

from jobs import (Job, Skip, TRAIN_S, Wrong, fails, get, main, mpirun, pack, put, require,
                  without_banners)

WORDS = {"N": ["dog", "cat", "fish", "tree"], "V": ["eats", "sees", "runs"],
         "D": ["the", "a"]}
NEXT = {"D": "N", "N": "VD", "V": "DN"}
CHUNK = {"D": "B-NP", "N": "I-NP", "V": "B-VP"}

# Keys that the report of every application has.
REPORT = ["app", "ranks", "threads", "seed", "train_seconds", "samples_per_second",
          "test_metric", "test_value", "bytes_sent", "comm_seconds", "compute_seconds",
          "wait_seconds", "peak_rss_bytes"]


def sentences(count, rng):
    """Text whose chunks can mostly be told from words and tags."""
    lines = []
    for _ in range(count):
        tag = "D"
        for _ in range(rng.randrange(1, 12)):
            label = CHUNK[tag] if rng.random() < 0.95 else "O"
            lines.append(f"{rng.choice(WORDS[tag])} {tag} {label}\n")
            tag = rng.choice(NEXT[tag])
        lines.append("\n")
    return "".join(lines).encode()


def make_data(folder):
    rng = random.Random(3)
    os.makedirs(folder)
    for name, count in ("train.txt", 120), ("dev.txt", 30), ("test.txt", 40):
        put(os.path.join(folder, name), sentences(count, rng))
    return folder


def flips(count, rng):
    """Labels that a word keeps or changes: no word tells a label by itself."""
    lines = []
    for _ in range(count):
        label, words = 0, ["start"] + rng.choices(["keep", "flip"], k=rng.randrange(2, 12))
        for word in words:
            label ^= word == "flip"
            lines.append(f"{word} {'XY'[label]}\n")
        lines.append("\n")
    return "".join(lines).encode()


FLIPS = ["--metric", "accuracy", "--c2", 0.1, "--precision", "f64"]


def curve(folder, name="curve.jsonl"):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def report(folder, name="report.json"):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def run(folder, *words, data=b""):
    """The program by itself, fed with data; its standard output."""
    done = subprocess.run([Job.program, *map(str, words)], cwd=folder, input=data,
                          capture_output=True, timeout=TRAIN_S, check=False)
    lines = without_banners(done.stderr.decode())
    if done.returncode != 0 or lines:
        raise Wrong(f"{words}: exit status {done.returncode}, {lines}")
    return done.stdout


class Cases:
    def __init__(self, top, nranks):
        self.nranks = nranks
        self.data = make_data(os.path.join(top, "data"))

    def train(self, folder, *options, nranks=None, data=None):
        mpirun(folder, nranks or self.nranks, "train", "--data", data or self.data,
               "--threads", 1, "--quiet", "--report", "report.json", "--curve",
               "curve.jsonl", "--model", "model.crf", *options)
        return report(folder)

    def learns(self, folder):
        """All files are written, and tell of one result."""
        told = self.train(folder)
        for key in REPORT:
            require(key in told, f"{key} is missing from the report")
        require(told["app"] == "dml-crf" and told["ranks"] == self.nranks, "report")
        require(told["test_metric"] == "f1" and told["test_value"] > 0.85,
                f"report: {told['test_metric']} {told['test_value']}")
        require(told["labels"] == 4, f"report: {told['labels']} labels")
        losses = [line["train_loss"] for line in curve(folder) if "train_loss" in line]
        require(losses[-1] < losses[0], "the loss did not fall")
        test = get(os.path.join(self.data, "test.txt"))
        tagged = run(folder, "tag", "--model", "model.crf", data=test)
        put(os.path.join(folder, "tagged.txt"), tagged)
        require(tagged.count(b"\n\n") == 40, "40 sentences go in")
        run(folder, "eval", "--data", "tagged.txt", "--quiet", "--report", "columns.json")
        run(folder, "eval", "--data", os.path.join(self.data, "test.txt"), "--model",
            "model.crf", "--quiet", "--report", "model.json")
        for name in "columns.json", "model.json":
            require(report(folder, name)["test"] == told["test"],
                    f"{name} is not what training said")
        dumped = run(folder, "dump", "--model", "model.crf").decode()
        require(dumped.count("\nlabel\t") == 4 and "\ntransition\tB-NP\tI-NP\t" in dumped
                and "\nstate\tUw[0]=dog\tI-NP\t" in dumped, "dump")

    def marginals(self, folder):
        self.train(folder)
        text = b"the D x\ndog N x\n\n"
        lines = run(folder, "tag", "--model", "model.crf", "--marginals",
                    data=text).decode().splitlines()
        require(0.5 < float(lines[0].split()[-1]) <= 1, "marginal")
        best = run(folder, "tag", "--model", "model.crf", "--nbest", 20,
                   data=text).decode().splitlines()
        heads = [float(line.split()[2]) for line in best if line.startswith("# ")]
        require(len(heads) == 16 and abs(sum(heads) - 1) < 1e-4, f"{len(heads)} labellings")
        require(heads == sorted(heads, reverse=True), "not in order")

    def ranks_agree(self, folder):
        """Objective and gradient to 1e-10 on the way, and equal labels at the end."""
        folders = [os.path.join(folder, name) for name in ("one", "many")]
        texts = []
        for n, where in zip((1, self.nranks), folders):
            os.mkdir(where)
            self.train(where, "--precision", "f64", "--max-iterations", 30, nranks=n)
            texts.append(run(where, "tag", "--model", "model.crf", "--data",
                             os.path.join(self.data, "test.txt")))
        require(texts[0] == texts[1], "other labels")
        lines = [[line for line in curve(where) if "gradient_norm" in line]
                 for where in folders]
        for one, many in list(zip(*lines))[:5]:
            for key in "train_loss", "gradient_norm":
                require(math.isclose(one[key], many[key], rel_tol=1e-10),
                        f"{key} at {one['epoch']}: {one[key]!r} and {many[key]!r}")

    def flipped(self, folder, template, *options, nranks=None):
        rng = random.Random(5)
        for name, count in ("train.txt", 150), ("test.txt", 40):
            put(os.path.join(folder, name), flips(count, rng))
        put(os.path.join(folder, "t.tpl"), template)
        return self.train(folder, "--template", "t.tpl", *FLIPS, *options, data=".",
                          nranks=nranks)

    def pairs(self, folder):
        """What only a weight of two labels and a word can say, on any number of ranks."""
        template = b"Uw=%x[0,0]\nB\nBw=%x[0,0]\n"
        one = self.flipped(folder, template, "--max-iterations", 10, nranks=1)
        lines = curve(folder)
        told = self.flipped(folder, template, "--max-iterations", 10)
        require(told["pair_features"] == 4, f"{told['pair_features']} features of pairs")
        require(one["test_value"] == told["test_value"] == 1, "a label is wrong")
        for first, second in list(zip(lines, curve(folder)))[:5]:
            for key in "train_loss", "gradient_norm":
                require(math.isclose(first[key], second[key], rel_tol=1e-10),
                        f"{key}: {first[key]!r} and {second[key]!r}")

    def pairs_otherwise(self, folder):
        template = b"Uw=%x[0,0]\nB\nBw=%x[0,0]\nBb=%x[-1,0]/%x[0,0]\n"
        without = self.flipped(folder, b"Uw=%x[0,0]\nB\n")
        require(without["pair_features"] == 0 and without["test_value"] < 0.8,
                f"without pairs: {without['test_value']}")
        for words in ([], ["--hash-bits", 12], ["--min-count", 2], ["--c1", 0.1],
                      ["--trainer", "perceptron"], ["--trainer", "adam", "--rate", 0.1],
                      ["--start", "old.crf", "--max-iterations", 2]):
            if "--start" in words:
                self.flipped(folder, template)
                os.rename(os.path.join(folder, "model.crf"),
                          os.path.join(folder, "old.crf"))
            told = self.flipped(folder, template, *words)
            require(told["test_value"] > 0.99, f"{words}: {told['test_value']}")
        require(b"\npair\tBw=flip\tX\tY\t" in run(folder, "dump", "--model", "model.crf"),
                "dump")
        text = b"start\nflip\nkeep\nflip\nflip\n\n"
        best = run(folder, "tag", "--model", "model.crf", "--nbest", 50, data=text)
        heads = [float(line.split()[2]) for line in best.decode().splitlines()
                 if line.startswith("# ")]
        require(len(heads) == 32 and abs(sum(heads) - 1) < 1e-4, f"{len(heads)} labellings")
        lines = run(folder, "tag", "--model", "model.crf", "--marginals",
                    data=text).decode().splitlines()
        require([line.split()[1] for line in lines if line] == list("XYYXY"), f"{lines}")
        require(best.decode().split("\n\n")[0].split("\n")[1:] ==
                [line.rsplit(" ", 1)[0] for line in lines if line], "best of n")
        fails(folder, [Job.program, "convert", "--data", "train.txt", "--template",
                       "t.tpl"], ["t.tpl", "pairs of labels"])

    def one_optimum(self, folder):
        """A convex objective: L-BFGS in either type and three rules by batches meet."""
        values = [self.train(folder, "--c2", 0.5, *options)["objective"] for options in (
            ["--precision", "f64", "--delta", 0], ["--delta", 0, "--max-iterations", 200],
            ["--trainer", "sgd", "--epochs", 150, "--batch", 12, "--rate", 0.3],
            ["--trainer", "adam", "--epochs", 150, "--batch", 12, "--rate", 0.1],
            ["--trainer", "adagrad", "--epochs", 150, "--batch", 12])]
        for value in values[1:]:
            require(math.isclose(value, values[0], rel_tol=2e-3), f"objectives {values}")
        require(math.isclose(values[0], values[1], rel_tol=1e-5), f"objectives {values}")

    def exchanges(self, folder):
        """Entries or vectors: one model. Few sentences of many words give entries."""
        rng = random.Random(9)
        wide = "".join(f"w{rng.randrange(5000)} t{rng.randrange(9)} L{rng.randrange(3)}\n"
                       f"{chr(10) * (i % 6 == 0)}" for i in range(720))
        put(os.path.join(folder, "wide.txt"), wide.encode())
        narrow = os.path.join(self.data, "train.txt")
        for path, batch, chosen in ("wide.txt", 4, "sparse"), (narrow, 120, "dense"):
            told = {}
            for how in "dense", "sparse", "auto":
                mpirun(folder, self.nranks, "train", "--train", path, "--trainer", "sgd",
                       "--epochs", 3, "--batch", batch, "--precision", "f64", "--exchange",
                       how, "--threads", 1, "--quiet", "--report", "report.json")
                told[how] = report(folder)
            objectives = [told[how]["objective"] for how in told]
            require(math.isclose(objectives[0], objectives[1], rel_tol=1e-6) and
                    told["auto"]["objective"] == told[chosen]["objective"],
                    f"{path}: objectives {objectives}")
            require(told["auto"].get("exchange") == told[chosen].get("exchange"),
                    f"{path}: {told['auto'].get('exchange')}")
            if self.nranks > 1:
                require(told["auto"]["exchange"][chosen + "_steps"] > 2, "steps")
                sent = {how: told[how]["bytes_sent"] for how in told}
                other = "sparse" if chosen == "dense" else "dense"
                require(sent[chosen] < sent[other], f"{path}: bytes sent {sent}")

    def trainers(self, folder):
        for options in (["--trainer", "perceptron"],
                        ["--trainer", "lamb", "--batch", 12, "--rate", 0.05],
                        ["--trainer", "adamw"], ["--trainer", "adagrad"], ["--c1", 0.5, "--c2", 0.01],
                        ["--hash-bits", 16], ["--min-count", 2], ["--patience", 2]):
            told = self.train(folder, *options)
            require(told["test_value"] > 0.8, f"{options}: {told['test_value']}")
        told = self.train(folder, "--trainer", "adam", "--epochs", 500, "--patience", 3)
        require(told["end"] == "patience" and told["iterations"] < 500,
                f"{told['end']} after {told['iterations']} epochs")

    def warm_start(self, folder):
        first = self.train(folder, "--precision", "f64")
        os.rename(os.path.join(folder, "model.crf"), os.path.join(folder, "old.crf"))
        second = self.train(folder, "--start", "old.crf", "--precision", "f64")
        require(second["iterations"] < first["iterations"] / 2,
                f"{first['iterations']} and {second['iterations']} iterations")

    def hashed_twice(self, folder):
        """Few buckets, many collisions: still the same bytes each time."""
        models = []
        for _ in range(2):
            self.train(folder, "--hash-bits", 6)
            models.append(get(os.path.join(folder, "model.crf")))
        require(models[0] == models[1], "two runs, two models")

    def too_many_hash_bits(self, folder):
        """More than the node has, if it has less than 12 GiB for each rank."""
        have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        if have > 12 * self.nranks:
            raise Skip("this machine has the memory")
        fails(folder, [Job.launcher, "-n", str(self.nranks), Job.program, "train",
                       "--data", self.data, "--hash-bits", "30", "--quiet"],
              ["--hash-bits 30 takes 12.0 GiB", "give fewer bits"])

    def odd_text(self, folder):
        """Text that is odd, but not wrong."""
        texts = {
            "one token": b"a X\n",
            "one label": b"a X\nb X\n\nc X\n",
            "CRLF and empty lines": b"\r\n\r\na X\r\nb Y\r\n\r\n\r\n\r\nc X\r\n",
            "no newline at the end": b"a X\nb Y",
            "bad UTF-8": b"a\xff\xc3 X\n\x80 Y\n",
            "a long sentence": b"a X\nb Y\n" * 50000,
        }
        for name, text in texts.items():
            put(os.path.join(folder, "train.txt"), text)
            put(os.path.join(folder, "test.txt"), b"q Z\na X\n")
            told = self.train(folder, "--template", "word", "--max-iterations", 5,
                              "--metric", "accuracy", data=".")
            require(told["test"]["accuracy"] <= 0.5, f"{name}: a label never seen")

    def formats(self, folder):
        """The same text as columns, items and CoNLL-U, plain and packed."""
        rows = [line.split() for line in
                get(os.path.join(self.data, "train.txt")).decode().split("\n")]
        items = "".join(f"{r[2]}\tw={r[0]}\tt={r[1]}:1\n" if r else "\n" for r in rows)
        conllu = "# a comment\n1-2\tx\t_\t_\n" + "".join(
            f"1\t{r[0]}\t{r[1]}\t{r[2]}\n" if r else "\n" for r in rows)
        template = "# words and tags\nUw=%x[0,0]\nUt=%x[0,1]\n\nB\n"
        put(os.path.join(folder, "items.txt"), items.encode())
        put(os.path.join(folder, "u.conllu"), conllu.encode())
        put(os.path.join(folder, "c.tpl"), template.encode())
        put(os.path.join(folder, "u.tpl"),
            template.replace(",1]", ",2]").replace(",0]", ",1]").encode())
        pack(os.path.join(folder, "u.conllu"))
        put(os.path.join(folder, "made.txt"), run(
            folder, "convert", "--data", os.path.join(self.data, "train.txt"), "--template",
            "c.tpl"))
        values = []
        for words in (["--train", os.path.join(self.data, "train.txt"), "--template",
                       "c.tpl"],
                      ["--train", "items.txt", "--format", "items"],
                      ["--train", "made.txt", "--format", "items"],
                      ["--train", "u.conllu.gz", "--template", "u.tpl"]):
            mpirun(folder, self.nranks, "train", *words, "--precision", "f64", "--quiet",
                   "--report", "report.json", "--max-iterations", 20)
            values.append(report(folder)["objective"])
        require(all(math.isclose(v, values[0], rel_tol=1e-7) for v in values),
                f"objectives {values}")


# (name, files, options, words of the line)
BAD = [
    ("* no such file", {}, ["--train", "none.txt"], ["none.txt", "No such file"]),
    ("no such folder", {}, ["--data", "none"], ["none", "No such file"]),
    ("a folder without training data", {"x.txt": b"a"}, ["--data", "."],
     ["no file in .", "train"]),
    ("an empty file", {"t.txt": b""}, ["--train", "t.txt"], ["t.txt", "no sentence"]),
    ("nothing but empty lines", {"t.txt": b"\n\r\n  \n"}, ["--train", "t.txt"],
     ["t.txt", "no sentence"]),
    ("* ragged columns", {"t.txt": b"a b X\nc Y\n"}, ["--train", "t.txt"],
     ["t.txt:2:", "2 cells", "3"]),
    ("a zero byte", {"t.txt": b"a b X\nc\0d e\n"}, ["--train", "t.txt"],
     ["t.txt:2:"]),
    ("gzip cut short", {"t.txt.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\3abc"},
     ["--train", "t.txt.gz"], ["t.txt.gz"]),
    ("a column that the template names is not there",
     {"t.txt": b"\n\na X\n", "t.tpl": b"U1:%x[0,5]\nB\n"},
     ["--train", "t.txt", "--template", "t.tpl"],
     ["t.txt:3:", "2 columns", "columns 0 to 5"]),
    ("* a template that is none", {"t.txt": b"a X\n", "t.tpl": b"U1:%x[0,0]\nU2:%q\n"},
     ["--train", "t.txt", "--template", "t.tpl"], ["t.tpl:2:"]),
    ("no such template", {"t.txt": b"a X\n"},
     ["--train", "t.txt", "--template", "none.tpl"], ["none.tpl"]),
    ("no such label column", {"t.txt": b"a X\n"}, ["--train", "t.txt", "--label", "7"],
     ["t.txt:1:", "no column 7"]),
    ("an item that is none", {"t.txt": b"X\ta:b:c\n"},
     ["--train", "t.txt", "--format", "items"], ["t.txt:1:", "no number"]),
    ("nothing left", {"t.txt": b"a X\n"}, ["--train", "t.txt", "--min-count", "9"],
     ["--min-count"]),
    ("no such trainer", {}, ["--trainer", "magic"], ["--trainer is one of"]),
    ("c1 with batches", {"t.txt": b"a X\nb Y\n"},
     ["--train", "t.txt", "--trainer", "sgd", "--c1", "1"], ["--c1", "lbfgs"]),
    ("no such start", {"t.txt": b"a X\nb Y\n"}, ["--train", "t.txt", "--start", "none"],
     ["none", "No such file"]),
    ("a start that is no model", {"t.txt": b"a X\nb Y\n" * 200},
     ["--train", "t.txt", "--start", "t.txt"], ["t.txt", "not a usable model"]),
    ("a model that is the text", {"t.txt": b"a X\nb Y\n"},
     ["--train", "t.txt", "--model", "./t.txt"], ["--model", "overwritten", "--train"]),
    ("a report in the data's folder", {"train.txt": b"a X\nb Y\n"},
     ["--data", ".", "--report", "train.txt"], ["train.txt", "part of the data"]),
    ("* a model that cannot be written", {"t.txt": b"a X\nb Y\n"},
     ["--train", "t.txt", "--model", "no/such/folder"], ["no/such/folder"]),
]


def bad_case(nranks, files, options, words):
    def case(folder):
        for name, data in files.items():
            put(os.path.join(folder, name), data)
        fails(folder, [Job.launcher, "-n", nranks, Job.program, "train", "--threads", 1,
                       "--quiet", *options], words)
        for name, data in files.items():
            require(get(os.path.join(folder, name)) == data, f"{name} was changed")
    return case


def make_cases(top, nranks):
    cases = Cases(top, nranks)
    todo = [("* learns, tags, scores, dumps", cases.learns),
            ("* ranks agree", cases.ranks_agree),
            ("* pairs of labels", cases.pairs), ("* exchanges", cases.exchanges),
            ("pairs of labels otherwise", cases.pairs_otherwise), ("one optimum", cases.one_optimum),
            ("marginals and n-best", cases.marginals), ("trainers", cases.trainers),
            ("warm start", cases.warm_start), ("hashed twice", cases.hashed_twice),
            ("odd text", cases.odd_text), ("too many hash bits", cases.too_many_hash_bits), ("formats", cases.formats)]
    todo += [(name, bad_case(nranks, *rest)) for name, *rest in BAD]
    return [case for case in todo if nranks == 2 or case[0].startswith("*")]


if __name__ == "__main__":
    sys.exit(main(make_cases))
