#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-cnn does its work on small data: it learns, and its files say so.

Usage: training.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
Sanitized builds run the cases marked with a "*".
"""

import json
import os
import shutil
import subprocess
import sys

from jobs import (IMAGES, Job, Skip, TRAIN_S, fails, get, images_path, labels_path, main,
                  make_cifar, make_idx, mpirun, pack, require)

EPOCHS, BATCH = 3, 12
RECIPES = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                       "../../apps/cnn/recipes")
PLOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/plot")

# Keys that the report of every application has, with what is plausible.
REPORT = {
    "app": lambda v: v == "dml-cnn",
    "ranks": lambda v: v > 0,
    "threads": lambda v: v == 1,
    "seed": lambda v: v == 7,
    "train_seconds": lambda v: 0 < v < TRAIN_S,
    "samples_per_second": lambda v: v > 0,
    "test_metric": lambda v: v == "accuracy",
    "test_value": lambda v: 0 <= v <= 1,
    "bytes_sent": lambda v: v >= 0,
    "comm_seconds": lambda v: v >= 0,
    "compute_seconds": lambda v: v > 0,
    "wait_seconds": lambda v: v >= 0,
    "peak_rss_bytes": lambda v: 2**20 < v < 2**33,
}


def read_json(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


class Cases:
    def __init__(self, top, nranks):
        self.nranks = nranks
        self.idx, self.packed, self.cifar = (
            os.path.join(top, name) for name in ("idx", "packed", "cifar"))
        make_idx(self.idx)
        make_idx(self.packed)
        make_cifar(self.cifar)
        for path in images_path, labels_path:
            pack(path(self.packed))
            pack(path(self.packed, "t10k"))

    def train(self, folder, data, *options, nranks=None, env=None):
        """The report of a run of dml-cnn train."""
        mpirun(folder, nranks or self.nranks, "train", "--data", data, "--batch", BATCH,
               "--epochs", EPOCHS, "--lr", 0.02, "--threads", 1, "--seed", 7,
               "--quiet", "--report", "report.json", *options, env=env)
        return read_json(folder, "report.json")

    def check_report(self, report, images):
        for key, plausible in REPORT.items():
            require(key in report, f"{key} is missing from the report")
            require(plausible(report[key]), f"report: {key} is {report[key]}")
        require(report["ranks"] == self.nranks, f"report: {report['ranks']} ranks")
        require(report["wait_seconds"] <= report["comm_seconds"] * 1.01 + 1e-3,
                "report: more time in waiting than in communication")
        require((report["bytes_sent"] > 0) == (self.nranks > 1),
                f"report: {report['bytes_sent']} bytes sent by {self.nranks} ranks")
        speed = EPOCHS * images / report["train_seconds"]
        require(abs(report["samples_per_second"] / speed - 1) < 0.01,
                f"report: {report['samples_per_second']} images/s, {speed} computed")

    def learns(self, folder):
        """One run writes all files; the model gives the same accuracy when it is read."""
        report = self.train(folder, self.idx, "--curve", "curve.jsonl", "--model",
                            "net.dml")
        left = sorted(os.listdir(folder))
        require(left == ["curve.jsonl", "net.dml", "report.json"], f"files: {left}")
        self.check_report(report, IMAGES)
        require(report["test_value"] >= 0.95, f"accuracy {report['test_value']}")
        mpirun(folder, self.nranks, "test", "--data", self.idx, "--model", "net.dml",
               "--batch", 5 * self.nranks, "--threads", 1, "--quiet", "--report",
               "test.json")
        tested = read_json(folder, "test.json")
        for key in set(REPORT) - {"seed", "train_seconds"}:
            require(key in tested and (key == "app" or REPORT[key](tested[key])),
                    f"report of dml-cnn test: {key} is {tested.get(key)}")
        require(tested["test_value"] == report["test_value"],
                f"accuracy {tested['test_value']} of the model file, "
                f"{report['test_value']} after training")
        require(abs(tested["test_loss"] / report["test_loss"] - 1) < 1e-3,
                "another loss of the model file than after training")

    def draws(self, folder):
        """The curve holds what it should, and scripts/plot draws it."""
        self.train(folder, self.packed, "--curve", "curve.jsonl")
        with open(os.path.join(folder, "curve.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        tests = [line for line in lines if "test_loss" in line]
        steps = [line for line in lines if "train_loss" in line]
        require([line["epoch"] for line in tests] == list(range(1, EPOCHS + 1)),
                f"epochs of the tests: {[line['epoch'] for line in tests]}")
        require(steps[-1]["step"] == EPOCHS * (IMAGES // BATCH), "the last step is missing")
        require(steps[-1]["train_loss"] < steps[0]["train_loss"], "the loss does not fall")
        require([line["epoch"] for line in lines] == sorted(l["epoch"] for l in lines),
                "epochs go back")
        out = subprocess.run([PLOT, "curve.jsonl", "-o", "curve.png"], cwd=folder,
                             capture_output=True, text=True, timeout=TRAIN_S)
        if "matplotlib is missing" in out.stderr:
            raise Skip("matplotlib is not installed")
        require(out.returncode == 0 and not out.stderr, "scripts/plot: " + out.stderr)
        require(os.path.getsize(os.path.join(folder, "curve.png")) > 5000, "a tiny picture")

    def cifar_learns(self, folder):
        report = self.train(folder, self.cifar, "--augment", "--net", "resnet20")
        self.check_report(report, 96)
        require(report["steps"] == EPOCHS * (96 // BATCH), f"{report['steps']} steps")

    def packs(self, folder):
        """Record files hold what the idx files hold: training gives the same bits."""
        packed = os.path.join(folder, "packed")
        os.mkdir(packed)
        for part, name in ("train", "train"), ("t10k", "test"):
            subprocess.run(
                [os.path.join(os.path.dirname(Job.program), "dml-records"), "convert",
                 "--from", "idx", "--in", images_path(self.idx, part), "--labels",
                 labels_path(self.idx, part), "--out",
                 os.path.join(packed, name + ".records")],
                check=True, capture_output=True, timeout=TRAIN_S)
        options = ["--epochs", 1, "--augment"]
        ring = {"DML_ALLREDUCE": "ring", "DML_MEASURE": "0"}
        first, second = (self.train(folder, data, *options, env=ring)
                         for data in (self.idx, packed))
        for key in "test_value", "test_loss", "train_loss":
            require(first[key] == second[key],
                    f"{key} is {first[key]}, but {second[key]} from records")

    def repeats(self, folder):
        """The same bits from the same algorithm; which one is best is measured anew in
        every run, so that without a choice two runs may differ by rounding."""
        options = ["--epochs", 1, "--augment"]
        ring = {"DML_ALLREDUCE": "ring", "DML_MEASURE": "0"}
        first, second = (self.train(folder, self.idx, *options, env=ring)
                         for _ in range(2))
        for key in "test_value", "test_loss", "train_loss":
            require(first[key] == second[key],
                    f"{key} is {first[key]}, then {second[key]} of the same seed")
        for env in None, {"DML_ALLREDUCE": "mpi"}:
            self.same(first, self.train(folder, self.idx, *options, env=env),
                      f"with {env}")
        other = self.train(folder, self.idx, *options, "--seed", 8)
        require(other["train_loss"] != first["train_loss"], "the seed changes nothing")

    def same(self, first, second, what):
        require(first["test_value"] == second["test_value"],
                f"accuracy {first['test_value']}, but {second['test_value']} {what}")
        for key in "test_loss", "train_loss":
            require(abs(first[key] - second[key]) <= 1e-3 * abs(first[key]) + 1e-6,
                    f"{key} {first[key]}, but {second[key]} {what}")

    def accumulates(self, folder):
        """Two passes of half the batch are one pass of the whole, on any ranks."""
        whole = self.train(folder, self.idx, "--epochs", 1)
        halves = self.train(folder, self.idx, "--epochs", 1, "--accumulate", 2)
        self.same(whole, halves, "in two passes")
        alone = self.train(folder, self.idx, "--epochs", 1, nranks=1)
        self.same(whole, alone, "on one rank")

    def lays_out(self, folder):
        """Ranks that hold unequal shards train on every image and learn as well; a plan
        evens the shards out; only "drop" leaves images out."""
        even = self.train(folder, self.idx)
        require(even["images_per_epoch"] == IMAGES and even["imbalance_before"] == 1,
                f"even: {even}")
        for layout in "size-skew:1.2", "class-skew:2":
            for uneven in "share", "join", "drop":
                report = self.train(folder, self.idx, "--layout", layout, "--uneven",
                                    uneven)
                what = f"{layout} {uneven}: "
                before, images = report["imbalance_before"], report["images_per_epoch"]
                require(report["imbalance_after"] == before and not
                        report["images_moved"], f"{what} balanced without a plan")
                require(before > 1.2 or self.nranks == 1 or layout != "size-skew:1.2",
                        f"{what} imbalance {before}")
                lost = uneven == "drop" and before > 1.2
                require(images < IMAGES if lost else images <= IMAGES,
                        f"{what} {images} images in an epoch")
                if uneven == "drop":
                    continue
                require(images == IMAGES, f"{what} {images} images in an epoch")
                require(report["test_value"] >= even["test_value"] - 0.05,
                        f"{what} accuracy {report['test_value']}, {even['test_value']} even")

    def balances(self, folder):
        for plan in "krhp", "ksrp":
            report = self.train(folder, self.idx, "--layout", "size-skew:1.5",
                                "--balance", plan)
            require(report["images_per_epoch"] == IMAGES, f"{plan}: images lost")
            require(report["test_value"] >= 0.9, f"{plan}: {report['test_value']}")
            require(report["imbalance_after"] <= 1.12, f"{plan}: {report}")
            require(self.nranks == 1 or report["images_moved"] > 0, f"{plan} moves none")
        fast = ",".join(["1"] + ["0.5"] * (self.nranks - 1))
        report = self.train(folder, self.idx, "--balance", "ksrp", "--capacity", fast)
        require(report["imbalance_after"] <= 1.02, f"by capacity: {report}")
        require(report["imbalance_before"] > 1.3 or self.nranks == 1, f"{report}")
        require(report["images_per_epoch"] == IMAGES, "images lost")

    def keeps_the_mean(self, folder):
        """The gradient is the mean over all images of a step, whoever holds how many: a
        batch of the whole set gives the same loss in any layout."""
        options = ["--batch", IMAGES, "--max-steps", 3, "--epochs", 8]
        even = self.train(folder, self.idx, *options)
        for layout in "size-skew:2", "class-skew":
            other = self.train(folder, self.idx, *options, "--layout", layout)
            self.same(even, other, f"with {layout}")

    def model_bytes(self, folder, *options):
        """Report and model file of a short run in reproducible mode."""
        report = self.train(folder, self.idx, "--epochs", 1, "--model", "net.dml",
                            *options, env={"DML_REPRODUCIBLE": "1"})
        with open(os.path.join(folder, "net.dml"), "rb") as file:
            return report, file.read()

    def rules(self, folder):
        """Every rule learns; sharded, it gives the same bits with 1/ranks of the state."""
        rates = {"sgd": 0.02, "adam": 0.002, "adamw": 0.002, "lars": 0.05, "lamb": 0.02}
        for rule, rate in rates.items():
            options = ["--optimizer", rule, "--lr", rate, "--clip-norm", 5]
            whole, model = self.model_bytes(folder, *options)
            require(whole["optimizer"] == rule and whole["lr"] == rate,
                    f"report: {whole['optimizer']} {whole['lr']}")
            require(whole["train_loss"] < 1.3, f"{rule}: loss {whole['train_loss']}")
            cut, same = self.model_bytes(folder, *options, "--shard-optimizer")
            require(model == same, f"{rule}: another model when sharded")
            require(cut["whole_state_bytes"] == whole["state_bytes"],
                    f"{rule}: {cut['whole_state_bytes']} bytes of state in all")
            share = whole["state_bytes"] / self.nranks
            require(abs(cut["state_bytes"] - share) <= 2 * 4 * 1024,
                    f"{rule}: {cut['state_bytes']} bytes of state, a share is {share}")

    def bytes_a_step(self, folder, precision):
        """What is sent besides, at the beginning and for tests, cancels out where nothing
        is chosen by measuring: the parameters' broadcast may send them or not."""
        forced = {"DML_ALLREDUCE": "direct", "DML_BCAST": "binomial"}
        few, many = (self.train(folder, self.idx, "--precision", precision, "--max-steps",
                                steps, env=forced)["bytes_sent"] for steps in (2, 6))
        return (many - few) / 4

    def half_precision(self, folder):
        """bf16 learns, sends half of the bytes, and is the same sharded."""
        wide = self.model_bytes(folder)[0]
        half, model = self.model_bytes(folder, "--precision", "bf16")
        # Of a step, by an algorithm that sends what it adds as it is; in shared memory
        # nothing is sent, and rings send f32 sums of bf16.
        sent = [self.bytes_a_step(folder, precision) for precision in ("f32", "bf16")]
        require(half["train_loss"] < 1.3, f"loss {half['train_loss']}")
        require(half["state_bytes"] == 2 * wide["state_bytes"], "no masters in the state")
        require(self.nranks == 1 or sent[1] < 0.51 * sent[0],
                f"{sent[1]} bytes sent a step, {sent[0]} in f32")
        same = self.model_bytes(folder, "--precision", "bf16", "--shard-optimizer")[1]
        require(model == same, "another model when sharded")

    def compresses(self, folder):
        """Codecs learn and send less; without force a codec is measured first."""
        dense = self.train(folder, self.idx)
        for codec in "onebit", "topk:0.05", "dgc:0.05", "powersgd:2", "terngrad":
            report = self.train(folder, self.idx, "--compress", codec + ",force")
            require(report["compress"].startswith(codec), f"report: {report['compress']}")
            require(report["test_value"] >= 0.7, f"{codec}: {report['test_value']}")
            require(self.nranks == 1 or report["bytes_sent"] < 0.5 * dense["bytes_sent"],
                    f"{codec}: {report['bytes_sent']} bytes, {dense['bytes_sent']} dense")
        report = self.train(folder, self.idx, "--compress", "onebit")
        require(all(b["why"] for b in report["compress_buckets"]), "no reasons")

    def reads_options(self, folder):
        """A file of options is as if they were typed; what comes later wins."""
        with open(os.path.join(folder, "recipe"), "w", encoding="utf-8") as file:
            file.write("# a recipe\n--lr 0.5 --optimizer lamb # twice\n\n"
                       "--schedule poly\n--power 2 --batch 24 --scale-lr sqrt\n"
                       "--base-batch 6")
        report = self.train(folder, self.idx, "--options", "recipe", "--lr", 0.01)
        require(report["lr"] == 0.02 and report["optimizer"] == "lamb" and
                report["batch"] == 24 and report["schedule"] == "poly",
                f"report: {report}")

    def recipes(self, folder):
        """Every recipe is understood, up to its batch, which is larger than the data."""
        names = sorted(os.listdir(RECIPES))
        require(len(names) >= 6, f"recipes: {names}")
        for name in names:
            path = os.path.join(RECIPES, name)
            report = self.train(folder, self.idx, "--options", path, "--batch", BATCH,
                                "--accumulate", 1, "--epochs", EPOCHS, "--max-steps", 2,
                                "--warmup-epochs", 1)
            require(report["steps"] == 2, f"{name}: {report['steps']} steps")

    def speaks(self, folder):
        """Plain lines on a pipe; a report may go there, too."""
        words = ["train", "--data", self.idx, "--batch", BATCH, "--threads", 1]
        lines = mpirun(folder, self.nranks, *words, "--epochs", 2).splitlines()
        require(len(lines) == 4 and lines[-1].startswith("test accuracy "),
                f"printed: {lines}")
        require("\r" not in "".join(lines), "a progress bar without a terminal")
        os.symlink("/dev/stdout", os.path.join(folder, "out"))
        out = mpirun(folder, self.nranks, *words, "--max-steps", 1, "--quiet", "--report",
                     "out")
        require(json.loads(out)["steps"] == 1, "no report on standard output")

    def keeps_inputs(self, folder):
        """No output overwrites the data, under any name, or the model that is tested."""
        data = os.path.join(folder, "data")
        shutil.copytree(self.idx, data)
        os.link(images_path(data), os.path.join(folder, "model"))
        before = get(images_path(data))
        for words, told in ((["train", "--model", "model"], "part of the data"),
                            (["test", "--model", "model", "--report", "./model"],
                             "it is --model")):
            fails(folder, [Job.launcher, "-n", self.nranks, Job.program, words[0], "--data",
                           "data", "--batch", BATCH, *words[1:]], ["model", told])
            require(get(images_path(data)) == before, f"{words}: the data was changed")

    def helps(self, folder):
        for words in ["--help"], ["train", "--help"], ["test", "--help"]:
            out = mpirun(folder, self.nranks, *words)
            require(out.count("usage: dml-cnn") == 1, f"{words}: {out[:80]}")


def make_cases(top, nranks):
    cases = Cases(top, nranks)
    return [("* idx: learns, tests its model", cases.learns),
            ("packed idx: curve and picture", cases.draws),
            ("CIFAR-10, augmented", cases.cifar_learns),
            ("record files", cases.packs),
            ("the same seed twice", cases.repeats),
            ("accumulation and ranks", cases.accumulates),
            ("unequal shards", cases.lays_out),
            ("* shards balanced by a plan", cases.balances),
            ("the mean over unequal shards", cases.keeps_the_mean),
            ("* every rule, sharded or not", cases.rules),
            ("bf16", cases.half_precision),
            ("* codecs", cases.compresses),
            ("options from a file", cases.reads_options),
            ("recipes", cases.recipes),
            ("what is printed", cases.speaks),
            ("inputs are kept", cases.keeps_inputs),
            ("help", cases.helps)]


if __name__ == "__main__":
    sys.exit(main(make_cases))
