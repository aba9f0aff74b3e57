#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-cnn --device gpu does on the fake device what it does on the processor; or on what
DML_GPU says.

Usage: gpu_cnn.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
"""

import json
import os
import re
import shutil
import signal
import sys

from jobs import LIMIT_S, TESTS, Job, fails, get, main, make_idx, mpirun, require

GPU = ["--device", "gpu"]
BITS = {"DML_REPRODUCIBLE": "1"}
MADE_UP = "synthetic:24x3x32x32x8"


def read_json(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


class Cases:
    def __init__(self, top, nranks):
        os.environ.setdefault("DML_GPU", "fake:2")
        self.nranks = nranks
        # Several ranks' gradients go by NCCL, or cannot be in a graph.
        self.captures = nranks == 1 or "DML_TEST_NCCL" in os.environ
        # Which path is measured to be the fastest may change from run to run, and with it
        # the order of sums. (NCCL's sums are not for BITS; here it has two ranks at most.)
        self.steady = None if self.captures else BITS
        self.idx = os.path.join(top, "idx")
        make_idx(self.idx)

    def words(self, *options, data=None, batch=12):
        return ["train", "--data", data or self.idx, "--batch", batch, "--epochs", 3,
                "--lr", 0.02, "--threads", 1, "--seed", 7, "--quiet", *options]

    def train(self, folder, *options, env=None, **more):
        """The report of a run."""
        mpirun(folder, self.nranks,
               *self.words("--report", "report.json", *options, **more), env=env)
        return read_json(folder, "report.json")

    def same(self, folder, tolerance, *options, **more):
        """Loss of the last step and of a test on both devices, and what was compared."""
        cpu, gpu = (self.train(folder, *options, *device, **more)
                    for device in ([], GPU))
        for key in "train_loss", "test_loss":
            require(abs(gpu[key] / cpu[key] - 1) < tolerance,
                    f"{key} is {gpu[key]} on the GPU and {cpu[key]} on the processor")
        require(gpu["parameters"] == cpu["parameters"], "another number of parameters")

    def first_steps(self, folder):
        for steps in 1, 3, 10:
            self.same(folder, 1e-4, "--max-steps", steps)

    def vgg(self, folder):
        """With dropout of images and of vectors, whose masks are the CPU's."""
        self.same(folder, 1e-4, "--net", "vgg", "--max-steps", 2)

    def resnet20(self, folder):
        self.same(folder, 1e-4, "--net", "resnet20", "--max-steps", 4)

    def resnet50(self, folder):
        self.same(folder, 1e-4, "--net", "resnet50", "--max-steps", 1, data=MADE_UP,
                  batch=6)

    def variants(self, folder):
        for options in (["--dropout", 0.3], ["--accumulate", 2],
                        ["--optimizer", "lamb", "--accumulate", 2, "--lr", 0.005],
                        ["--layout", "size-skew:1"], ["--augment", "--clip-norm", 1]):
            self.same(folder, 1e-4, "--max-steps", 6, *options)

    def half_precision(self, folder):
        self.same(folder, 0.05, "--max-steps", 6, "--precision", "bf16")

    def models(self, folder):
        """What one device has trained the other tests, to the same result."""
        for train, test in ([], GPU), (GPU, []):
            report = self.train(folder, "--net", "resnet20", "--max-steps", 3,
                                "--model", "net.model", *train)
            for rows in 2, 7, TESTS: # the last batch is whole, short, the only one
                mpirun(folder, self.nranks, "test", "--data", self.idx, "--model",
                       "net.model", "--batch", rows * self.nranks, "--quiet",
                       "--report", "test.json", *test)
                tested = read_json(folder, "test.json")
                require(abs(tested["test_loss"] / report["test_loss"] - 1) < 1e-5,
                        f"{tested['test_loss']} and {report['test_loss']}")

    def bits(self, folder, graph, *options, **more):
        """The model, and how the report says that steps were done."""
        more = {"env": self.steady, **more}
        report = self.train(folder, *GPU, "--graph", graph, "--model", "net.model",
                            *options, **more)
        return get(os.path.join(folder, "net.model")), report["graph"]

    def graphs(self, folder):
        """A step as a graph has the bits of its work one by one, over ends of epochs."""
        every = (["--max-steps", 20], ["--max-steps", 9, "--accumulate", 2],
                 ["--max-steps", 9, "--accumulate", 3, "--precision", "bf16",
                  "--clip-norm", 1],
                 ["--max-steps", 12, "--dropout", 0.3, "--optimizer", "lamb"],
                 ["--max-steps", 5, "--net", "resnet20", "--precision", "bf16"])
        for options in every if self.captures else every[:1]:
            plain, how = self.bits(folder, "off", *options)
            require(how == "plain: --graph off", how)
            auto, how = self.bits(folder, "auto", *options)
            require(auto == plain, f"another model with {options}")
            require(how == "captured" if self.captures else re.search(
                "allreduce by (ipc|host_staged) cannot be captured", how), how)
        if self.captures and self.nranks > 1:  # NCCL's order of sums is its own
            options = ["--max-steps", 6]
            plain, _ = self.bits(folder, "off", *options, env=BITS)
            auto, how = self.bits(folder, "auto", *options, env=BITS)
            require(auto == plain and "nccl cannot do it: reproducible mode" in how, how)
        options = ["--max-steps", 6, "--schedule", "onecycle", "--low-momentum", 0.8]
        plain, _ = self.bits(folder, "off", *options)
        auto, how = self.bits(folder, "auto", *options)
        require(auto == plain and "plain: " in how, how)
        _, how = self.bits(folder, "auto", "--max-steps", 3)
        require("plain: " in how, f"three steps are {how}")

    def graphs_go_on(self, folder):
        """Parts of a job, with graphs and without, have the bits of the whole."""
        words = ["--optimizer", "adam", "--lr", 0.001, "--precision", "bf16"]
        kept = ["--checkpoint", "kept", "--checkpoint-every", 5]
        whole, _ = self.bits(folder, "off", *words, "--max-steps", 12)
        for first, then in ("on", "on"), ("off", "on"), ("on", "off"):
            self.bits(folder, first, *words, *kept, "--max-steps", 6)
            model, _ = self.bits(folder, then, *words, *kept, "--resume", "auto",
                                 "--max-steps", 12)
            require(model == whole, f"another model with {first}, then {then}")
            shutil.rmtree(os.path.join(folder, "kept"))

    def graphs_that_fail(self, folder):
        """What cannot be captured is done without, or with --graph on an error."""
        plain, _ = self.bits(folder, "off", "--max-steps", 6)
        for name, value, text in (("DML_TEST_GPU_UNLOADED", "cnn_conv_data", "loading"),
                                  ("DML_ALLREDUCE", "host_staged", "host_staged")):
            env = {name: value}
            model, how = self.bits(folder, "auto", "--max-steps", 6, env=env)
            require(model == plain and "plain: " in how and text in how, how)
            job = Job([Job.launcher, "-n", self.nranks, Job.program,
                       *self.words(*GPU, "--graph", "on", "--max-steps", 6)], folder, env)
            status, told = job.end(LIMIT_S), job.text(job.err)
            require(status != 0 and "--graph on: the step cannot be captured" in told
                    and text in told, job.told(f"exit status {status}"))

    def stops_in_a_graph(self, folder):
        """What a launch waits for is told, with the rank that holds it up."""
        job = Job([Job.launcher, "-n", self.nranks, Job.program, "train", "--data",
                   self.idx, "--batch", 12, "--threads", 1, "--epochs", 20000, *GPU,
                   "--graph", "on"], folder, {"DML_TIMEOUT_S": "1"})
        job.wait_until(lambda: "epoch 3.00 " in job.text(job.out), "the third epoch")
        stopped = job.ranks()[-1]
        os.kill(stopped, signal.SIGSTOP)
        status, told = job.end(LIMIT_S), job.text(job.err)
        for word in ("a graph of ", "it has not ended after 1 s", f"pid {stopped}) ",
                     "its process is stopped"):
            require(status != 0 and word in told, job.told(f"\"{word}\" is not said"))

    @staticmethod
    def has_snapshot(folder):
        """The newest's name: without one a job would begin anew, and end with the same
        bits."""
        kept = sorted(os.listdir(os.path.join(folder, "kept")))
        found = [name for name in kept if name.startswith("snapshot-")]
        require(found, f"no snapshot: {kept}")
        return found[-1]

    def goes_on(self, folder):
        """To the same bits on a GPU; on the other device to the same loss."""
        for options in ([], ["--optimizer", "adam", "--precision", "bf16"]):
            words = ["--net", "resnet20", "--max-steps", 6, *options]
            whole = self.train(folder, *words, "--model", "whole.model", *GPU,
                               env=self.steady)
            first = ["--checkpoint", "kept", "--checkpoint-every", 2]
            self.train(folder, "--net", "resnet20", "--max-steps", 5, *options, *first,
                       *GPU, env=self.steady)
            self.has_snapshot(folder)
            self.train(folder, *words, *first, "--resume", "auto", "--model",
                       "on.model", *GPU, env=self.steady)
            require(get(os.path.join(folder, "whole.model")) ==
                    get(os.path.join(folder, "on.model")), "the models differ")
            shutil.rmtree(os.path.join(folder, "kept"))
            if options:
                continue
            for here, there in ([], GPU), (GPU, []):
                self.train(folder, "--net", "resnet20", "--max-steps", 5, *first, *here)
                self.has_snapshot(folder)
                report = self.train(folder, *words, *first, "--resume", "auto", *there)
                shutil.rmtree(os.path.join(folder, "kept"))
                require(abs(report["train_loss"] / whole["train_loss"] - 1) < 1e-4,
                        f"{report['train_loss']} and {whole['train_loss']}")

    def sharded(self, folder):
        """State in shares: the bits of the whole, also from step to step of a snapshot,
        and of another number of ranks."""
        every = (["--optimizer", "adam", "--lr", 0.002],
                 ["--optimizer", "lamb", "--clip-norm", 1, "--accumulate", 2],
                 ["--net", "resnet20", "--precision", "bf16", "--max-steps", 4])
        for options in every:
            words = ["--max-steps", 8, *options]
            whole, _ = self.bits(folder, "off", *words, env=BITS)
            cut, _ = self.bits(folder, "auto", *words, "--shard-optimizer", env=BITS)
            require(cut == whole, f"another model when sharded, with {options}")
            state = read_json(folder, "report.json")
            require(state["state_bytes"] <= state["whole_state_bytes"] / self.nranks
                    + 2 * 4 * 1024, f"{state['state_bytes']} bytes of state")
        words = [*every[0], "--shard-optimizer"]
        kept = ["--checkpoint", "kept", "--checkpoint-every", 2]
        whole, _ = self.bits(folder, "off", *words, "--max-steps", 7, env=BITS)
        self.bits(folder, "off", *words, *kept, "--max-steps", 5, env=BITS)
        self.has_snapshot(folder)
        copied = os.path.join(folder, "copied")
        shutil.copytree(os.path.join(folder, "kept"), copied)
        model, _ = self.bits(folder, "off", *words, *kept, "--resume", "auto",
                             "--max-steps", 7, env=BITS)
        require(model == whole, "another model after a snapshot")
        shutil.rmtree(os.path.join(folder, "kept"))
        os.rename(copied, os.path.join(folder, "kept"))
        # On one rank more no further step is done: all of the state must have arrived.
        step = int(self.has_snapshot(folder).rsplit("-", 1)[1])
        for nranks in self.nranks, self.nranks + 1:
            mpirun(folder, nranks, *self.words(
                *GPU, *words, *kept, "--resume", "auto", "--max-steps", step, "--model",
                f"{nranks}.model"))
        require(get(os.path.join(folder, f"{self.nranks}.model")) ==
                get(os.path.join(folder, f"{self.nranks + 1}.model")),
                "parameters changed on their way to other ranks")
        mpirun(folder, self.nranks + 1, *self.words(
            *GPU, *words, *kept, "--resume", "auto", "--max-steps", 7, "--report",
            "more.json"))
        require(abs(read_json(folder, "more.json")["train_loss"] /
                    read_json(folder, "report.json")["train_loss"] - 1) < 1e-3,
                "another loss on another number of ranks")

    def compresses(self, folder):
        """Codecs learn; one that sends all is no codec; parts of a job are the whole."""
        dense = self.train(folder, "--max-steps", 6, *GPU)
        whole = self.train(folder, "--max-steps", 6, *GPU, "--compress", "topk:1,force")
        require(abs(whole["train_loss"] / dense["train_loss"] - 1) < 1e-4,
                f"topk:1 has the loss {whole['train_loss']}, no codec "
                f"{dense['train_loss']}")
        all_codecs = ["onebit", "powersgd:2", "sign", "topk:0.05", "8bit", "f16",
                      "terngrad", "dgc:0.1", "randomk:0.2"]
        for codec in all_codecs if self.nranks == 2 else all_codecs[:2]:
            report = self.train(folder, *GPU, "--compress", codec + ",force")
            require(report["test_value"] >= 0.7, f"{codec}: {report['test_value']}")
            used = [b for b in report["compress_buckets"] if b["compressed_steps"] > 0]
            require(used and all(b["code_bytes"] < 0.6 * b["dense_bytes"] for b in used),
                    f"{codec}: {report['compress_buckets']}")
        report = self.train(folder, *GPU, "--compress", "topk:0.01", "--accumulate", 2,
                            "--max-steps", 5)
        require(report["compress_buckets"][0]["why"], "nothing was chosen")
        for codec in all_codecs[1::2] if self.nranks == 2 else all_codecs[3:4]:
            codec += ",force"
            words = ["--compress", codec, "--accumulate", 2]
            kept = ["--checkpoint", "kept", "--checkpoint-every", 3]
            whole, _ = self.bits(folder, "auto", *words, "--max-steps", 9, env=BITS)
            self.bits(folder, "auto", *words, *kept, "--max-steps", 7, env=BITS)
            self.has_snapshot(folder)
            model, _ = self.bits(folder, "auto", *words, *kept, "--resume", "auto",
                                 "--max-steps", 9, env=BITS)
            require(model == whole, f"{codec}: another model after a snapshot")
            fails(folder, [Job.launcher, "-n", self.nranks, Job.program,
                           *self.words(*words, "--checkpoint", "kept", "--resume", "auto",
                                       "--max-steps", 9)], ["the other --device"])
            shutil.rmtree(os.path.join(folder, "kept"))

    def forced_paths(self, folder):
        """A path holds for gradients on the device; the losses go by the host."""
        paths = ["nccl"] if "DML_TEST_NCCL" in os.environ else ["ipc", "ring,host_staged"]
        free = self.train(folder, *GPU, "--max-steps", 6)
        for path in paths:
            report = self.train(folder, *GPU, "--max-steps", 6,
                                env={"DML_ALLREDUCE": path})
            require(abs(report["test_loss"] / free["test_loss"] - 1) < 1e-4,
                    f"{report['test_loss']} by {path}, {free['test_loss']} without")

    def refuses(self, folder):
        def refused(*words):
            *options, text = words
            fails(folder, [Job.launcher, "-n", self.nranks, Job.program,
                           *self.words(*options)], [text])

        for kernels in "cudnn", "cudnn-measured", "cudnn-gemm":
            refused(*GPU, "--kernels", kernels, "no cuDNN")
        refused(*GPU, "--compress", "onebit", "--precision", "bf16", "--compress onebit")
        refused("--graph", "on", "--device gpu")
        for option in (["--low-momentum", 0.8, "--schedule", "onecycle"],
                       ["--shard-optimizer"], ["--compress", "onebit"]):
            refused(*GPU, "--graph", "on", *option, option[0])
        if not self.captures:
            refused(*GPU, "--graph", "on", "--max-steps", 6, "cannot be captured")
        refused("--precision", "tf32", "tf32")
        refused("--kernels", "plain", "--device gpu")
        fails(folder, [Job.launcher, "-n", self.nranks, Job.program, "test", "--model",
                       "none", "--kernels", "plain"], ["--device gpu"])
        refused("--data", "synthetic:10x3x8", "synthetic:1024x3x224x224x1000")
        many = f"synthetic:{10**12}x3x224x224x8"
        fails(folder, [Job.launcher, "-n", self.nranks, Job.program,
                       *self.words("--data", many)],
              ["--data " + many, "make fewer", "every rank"])

    def diverges(self, folder):
        for options in (["--lr", "1e6", "--warmup-epochs", 0],
                        ["--lr", "1e6", "--warmup-epochs", 0, "--shard-optimizer"],
                        ["--lr", 30, "--warmup-epochs", 2]):  # in a graph, where there are some
            fails(folder, [Job.launcher, "-n", self.nranks, Job.program,
                           *self.words(*GPU, *options)], ["diverged"])


def make_cases(top, nranks):
    cases = Cases(top, nranks)
    found = [("losses of the first steps", cases.first_steps),
             ("vgg", cases.vgg),
             ("resnet20", cases.resnet20),
             ("dropout, passes, lamb, layout, clipping", cases.variants),
             ("bf16", cases.half_precision),
             ("models both ways", cases.models),
             ("snapshots", cases.goes_on),
             ("graphs of a step", cases.graphs),
             ("shares of the state", cases.sharded),
             ("codecs", cases.compresses),
             ("forced paths", cases.forced_paths),
             ("what is refused", cases.refuses),
             ("divergence", cases.diverges)]
    if cases.captures:
        found += [("snapshots with graphs", cases.graphs_go_on),
                  ("graphs that fail", cases.graphs_that_fail)]
    if cases.captures and nranks > 1:
        found.append(("a rank that stops in graphs", cases.stops_in_a_graph))
    if nranks == 2:  # It takes long, and has no other layers.
        found.append(("resnet50", cases.resnet50))
    return found


if __name__ == "__main__":
    sys.exit(main(make_cases))
