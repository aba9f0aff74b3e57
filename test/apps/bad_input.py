#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-cnn on bad input: data, options, outputs, model files.

Each case must end the whole job within 10 s, with a status that is not 0, one line on
standard error that says what, where and what to do, and no file left behind.
Usage: bad_input.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
Two ranks meet every case; other numbers, and sanitized builds, those marked with a "*".
"""

import os
import shutil
import struct
import sys

from jobs import (CLASSES, IMAGES, Job, SIDE, TESTS, fails, get, images_path, labels_path,
                  main, make_cifar, make_idx, mpirun, pack, put, require)

BATCH = ["--batch", "12", "--threads", "1", "--quiet"]
PIXELS = IMAGES * SIDE * SIDE
AGAIN = "fetch the file again"


# ---- data files ------------------------------------------------------------------------

def change(path, make):
    """Rewrites a file by a function of its bytes; returns its path."""
    put(path, make(get(path)))
    return path


def gone(path):
    os.unlink(path)
    return path


def replaced(path, make):
    os.unlink(path)
    make(path)
    return path


def cut(data):
    return data[:-5]


def longer(data):
    return data + b"abc"


def magic(data):
    return b"\x12\x34\x56\x78" + data[4:]


def damaged(data):
    return data[:len(data) // 2] + bytes(64) + data[len(data) // 2 + 64:]


def announce(count):
    return lambda data: data[:4] + struct.pack(">I", count) + data[8:]


def one_more_label(data):
    return data[:4] + struct.pack(">I", IMAGES + 1) + data[8:] + b"\0"


def label_beyond(data):
    return data[:-1] + bytes([CLASSES])


I, L = images_path, labels_path

# (name, what is done to a folder of idx files: the file to be named, words of the line)
IDX = [
    ("* images missing", lambda d: gone(I(d)), ["No such file", "check the path"]),
    ("labels missing", lambda d: gone(L(d)), ["No such file", "check the path"]),
    ("test images missing", lambda d: gone(I(d, "t10k")), ["No such file"]),
    ("test labels missing", lambda d: gone(L(d, "t10k")), ["No such file"]),
    ("* images cut short", lambda d: change(I(d), cut),
     ["cut short", f"{PIXELS + 11} bytes found, {PIXELS + 16} expected", AGAIN]),
    ("labels cut short", lambda d: change(L(d), cut),
     ["cut short", f"{IMAGES + 3} bytes found, {IMAGES + 8} expected", AGAIN]),
    ("test labels cut short", lambda d: change(L(d, "t10k"), cut),
     ["cut short", f"{TESTS + 3} bytes found, {TESTS + 8} expected", AGAIN]),
    ("header cut short", lambda d: change(I(d), lambda data: data[:9]), ["cut short"]),
    ("packed images cut short", lambda d: change(pack(I(d)), lambda data: data[:-40]),
     ["cut short", "gzip", AGAIN]),
    ("packed labels cut short", lambda d: change(pack(L(d)), lambda data: data[:-4]),
     ["cut short", "gzip", AGAIN]),
    ("packed images damaged", lambda d: change(pack(I(d)), damaged),
     ["damaged gzip stream", AGAIN]),
    ("images too long", lambda d: change(I(d), longer), [
        "longer than announced", f"{PIXELS + 19} bytes found, {PIXELS + 16} expected"]),
    ("labels too long", lambda d: change(L(d), longer), [
        "longer than announced", f"{IMAGES + 11} bytes found, {IMAGES + 8} expected"]),
    ("packed images too long", lambda d: pack(change(I(d), longer)),
     ["longer than announced", "(decoded)", f"{PIXELS + 16} expected"]),
    ("images announce 2^32 - 1", lambda d: change(I(d), announce(2**32 - 1)),
     ["cut short", f"{PIXELS + 16} bytes found"]),
    ("packed images announce 2^32 - 1",
     lambda d: pack(change(I(d), announce(2**32 - 1))), ["announces", "cannot hold"]),
    ("images of another kind", lambda d: change(I(d), magic),
     ["0x12345678 found, 0x00000803 expected", "check the path"]),
    ("labels of another kind", lambda d: change(L(d), magic),
     ["0x12345678 found, 0x00000801 expected", "check the path"]),
    ("labels instead of images", lambda d: shutil.copy(L(d), I(d)),
     ["not an idx file of images", "it holds labels"]),
    ("one label too many", lambda d: change(L(d), one_more_label),
     [f"{IMAGES + 1} labels found, {IMAGES} expected", "two files of one set"]),
    ("images empty", lambda d: change(I(d), lambda data: b""), ["cut short", "0 bytes"]),
    ("labels empty", lambda d: change(L(d), lambda data: b""), ["cut short", "0 bytes"]),
    ("no images in the file", lambda d: change(I(d), announce(0)), ["holds no pixels"]),
    ("a folder instead of images", lambda d: replaced(I(d), os.mkdir),
     ["directory", "a file was expected"]),
    ("a pipe instead of labels", lambda d: replaced(L(d), os.mkfifo),
     ["not a regular file"]),
]


def make_idx_case(source, train, damage, words):
    def case(folder):
        data = os.path.join(folder, "data")
        shutil.copytree(source, data)
        path = damage(data)
        fails(folder, [*train, "--data", "data"], [os.path.basename(path), *words])
    return case


def make_cifar_case(source, train, name, damage, words):
    def case(folder):
        data = os.path.join(folder, "data")
        shutil.copytree(source, data)
        damage(os.path.join(data, name))
        fails(folder, [*train, "--data", "data"], words)
    return case


def cifar_label(data):
    return bytes([10]) + data[1:]


CIFAR = [
    ("CIFAR-10 cut short", "data_batch_2.bin", lambda p: change(p, cut),
     ["data_batch_2.bin", f"{48 * 3073 - 5} bytes found", "3073 bytes expected"]),
    ("CIFAR-10 of label 10", "data_batch_1.bin", lambda p: change(p, cifar_label),
     ["data_batch_1.bin", "label 10", "at most 9"]),
    ("CIFAR-10 empty", "test_batch.bin", lambda p: change(p, lambda data: b""),
     ["test_batch.bin", "0 bytes found"]),
    ("CIFAR-10 without a test set", "test_batch.bin", gone, ["no test files"]),
]


def make_parts_case(source, train):
    """Labels in the test set that the net was not made for."""
    def case(folder):
        data = os.path.join(folder, "data")
        shutil.copytree(source, data)
        change(labels_path(data, "t10k"), label_beyond)
        fails(folder, [*train, "--data", "data"],
              [f"label {CLASSES}", f"largest is {CLASSES - 1}", "of one data set"])
    return case


# ---- options ---------------------------------------------------------------------------

# (name, options that come after good ones, words of the line)
OPTIONS = [
    ("* an unknown option", ["--frob"], ["unknown option --frob", "--help"]),
    ("an unknown short option", ["-q"], ["unknown option -q", "--help"]),
    ("a stray word", ["word"], ["unexpected argument \"word\"", "--help"]),
    ("an option without its value", ["--seed"], ["--seed needs a value"]),
    ("a flag with a value", ["--quiet=1"], ["--quiet=1 takes no value"]),
    ("* not a number", ["--epochs", "ten"], ["--epochs needs a whole number", "\"ten\""]),
    ("a broken number", ["--batch", "12x"], ["--batch needs", "\"12x\""]),
    ("out of range", ["--epochs", "0"], ["--epochs", "from 1 to 1000000", "\"0\""]),
    ("beyond 64 bits", ["--seed", "9" * 30], ["--seed", "from 0 to"]),
    ("a rate out of range", ["--lr", "1e30"], ["--lr needs a number from 0"]),
    ("a rate that is no number", ["--lr", "nan"], ["--lr needs a number", "\"nan\""]),
    ("no such net", ["--net", "big"], ["--net is one of small|vgg|resnet20", "\"big\""]),
    ("milestones that fall", ["--schedule", "step", "--milestones", "3,2"],
     ["--milestones needs increasing epochs", "\"3,2\""]),
    ("endless milestones", ["--schedule", "step", "--milestones", "inf"],
     ["--milestones needs", "\"inf\""]),
    ("no such rule", ["--optimizer", "rmsprop"],
     ["--optimizer is one of sgd|adam|adamw|lars|lamb", "\"rmsprop\""]),
    ("no such schedule", ["--schedule", "sqrt"],
     ["--schedule is one of constant|step|cosine|poly|onecycle", "\"sqrt\""]),
    ("no such precision", ["--precision", "f16"], ["--precision is one of f32|tf32|bf16"]),
    ("a scaling that is none", ["--scale-lr", "cubic"], ["none|linear|sqrt"]),
    ("* no such codec", ["--compress", "zip"], ["--compress: codec \"zip\""]),
    ("a codec's ratio out of range", ["--compress", "topk:2"],
     ["--compress: codec \"topk:2\""]),
    ("a codec and bf16", ["--compress", "onebit", "--precision", "bf16"],
     ["--compress onebit", "--precision f32"]),
    ("a codec and shards", ["--compress", "onebit", "--shard-optimizer"],
     ["--compress onebit", "--shard-optimizer", "one of the two"]),
    ("dgc with Adam", ["--compress", "dgc:0.01", "--optimizer", "adam"],
     ["--compress dgc", "--optimizer sgd"]),
    ("a codec's text without room for the momentum",
     ["--compress", "dgc:0.01" + "0" * 80], ["--compress dgc:0.01", "longer than"]),
    ("a low momentum without one-cycle", ["--low-momentum", "0.85"],
     ["--low-momentum is for --schedule onecycle"]),
    ("a low momentum of Adam",
     ["--low-momentum", "0.85", "--schedule", "onecycle", "--optimizer", "adam"],
     ["--low-momentum is for --schedule onecycle"]),
    ("a low momentum above the high one",
     ["--low-momentum", "0.99", "--schedule", "onecycle", "--momentum", "0.9"],
     ["--low-momentum 0.99", "--momentum 0.9"]),
    ("look-ahead without momentum", ["--nesterov", "--optimizer", "lamb"],
     ["--nesterov is for sgd and lars"]),
    ("one-cycle that is all warm-up", ["--schedule", "onecycle", "--warmup-epochs", "3"],
     ["warm"]),
    ("beta of 1", ["--optimizer", "adam", "--beta1", "1"], ["--beta1 needs"]),
    ("no file of options", ["--options", "nowhere"],
     ["cannot read options from nowhere", "No such file"]),
    ("a folder of options", ["--options", "/"], ["cannot read options from /"]),
    ("--options without a file", ["--options"], ["--options needs a value"]),
    ("no data there", ["--data", "nowhere/x"], ["nowhere/x", "give --data DIR"]),
    ("a file instead of a data folder", ["--data", "/dev/null"],
     ["/dev/null", "give --data DIR"]),
    ("* a batch larger than the data", ["--batch", "1200"],
     ["--batch 1200", f"{IMAGES} images", "smaller"]),
    ("no such layout", ["--layout", "size-skew:x"],
     ["--layout needs even, size-skew or class-skew", "size-skew:x"]),
    ("a capacity without a plan", ["--capacity", "1,1"], ["--capacity", "--balance ksrp"]),
    ("capacities for other ranks", ["--capacity", "1,1,1,1,1", "--balance", "ksrp"],
     ["--capacity needs", "one for each rank"]),
    ("options shortened", ["--option", "x"], ["write --options in full"]),
    ("two outputs of one name", ["--report", "x", "--model", "./x"], ["x", "overwritten", "--report"]),
    ("a capacity that is next to nothing",
     ["--balance", "ksrp", "--capacity", "1e-300,1"], ["no images", "more of --capacity"]),
    ("an exponent that leaves a rank nothing", ["--layout", "size-skew:20"],
     ["would hold no images", "--balance ksrp"]),
    ("a batch larger than memory", ["--batch", "9999996"],
     ["--batch 9999996", f"{IMAGES} images", "smaller"]),
    ("* the loss diverges", ["--lr", "1e6", "--epochs", "3"],
     ["diverged", "smaller --lr"]),
]


def make_batch_case(nranks, train):
    """A batch that ranks x accumulate do not divide; says which one would do."""
    parts = 5 * nranks
    return lambda folder: fails(
        folder, [*train, "--batch", 5 * nranks + 1, "--accumulate", 5],
        [f"--batch {parts + 1} cannot be divided by {nranks} ranks x --accumulate 5",
         f"such as {2 * parts}"])


def make_pair(first, second, words):
    """Ranks that were not started alike: one program each on the command line."""
    command = [Job.launcher, "-n", "1", Job.program, *first, ":",
               "-n", "1", Job.program, *second]
    return lambda folder: fails(folder, command, words)


def pair_cases(idx):
    good = ["train", "--data", idx, *BATCH]
    return [
        ("another seed on one rank",
         make_pair(good + ["--seed", "1"], good + ["--seed", "2"],
                   ["rank 1", "--seed 2", "rank 0 with --seed 1", "same options"])),
        ("an option on one rank", make_pair(good + ["--augment"], good,
                                            ["rank 1", "--augment", "same options"])),
        ("an unknown option on rank 1", make_pair(
            good, good + ["--frob"], ["rank 1", "unknown option --frob", "--help"])),
        ("an unknown option on rank 0", make_pair(
            good + ["--frob"], good, ["rank 0", "unknown option --frob", "--help"])),
        ("another command on one rank", make_pair(
            good, ["test", "--data", idx], ["rank 1", "another command", "rank 0"])),
        ("help on one rank", make_pair(
            good, ["train", "--help"], ["rank 1", "--help", "same options"])),
        ("no data on one rank", make_pair(
            good, ["train", "--data", "nowhere/x", *BATCH], ["rank 1", "nowhere/x"])),
    ]


# ---- outputs ---------------------------------------------------------------------------

def link_full(folder):
    """A name for /dev/full that a program may replace by mistake without harm."""
    os.symlink("/dev/full", os.path.join(folder, "full"))


def make_output_case(train, option, path, words):
    def case(folder):
        os.mkdir(os.path.join(folder, "taken"))
        put(os.path.join(folder, "plain"), b"")
        link_full(folder)
        fails(folder, [*train, option, path], [path, *words])
    return case


def output_cases(train):
    advice = "a folder that exists and may be written"
    places = [("in a missing folder", "none/file", [advice]),
              ("names a folder", "taken", ["directory", advice]),
              ("below a file", "plain/file", [advice]),
              ("where no file can be made", "/proc/file", [advice]),
              ("on a full device", "full", ["No space left", "another path"])]
    cases = []
    for option in "--report", "--curve", "--model":
        for name, path, words in places:
            mark = "* " if (option, path) == ("--report", "none/file") else ""
            cases.append((f"{mark}{option} {name}",
                          make_output_case(train, option, path, words)))
    return cases


def older_files_stay(train):
    """A run that fails leaves results of an earlier one alone."""
    def case(folder):
        paths = [os.path.join(folder, name) for name in ("report", "curve", "model")]
        for path in paths:
            put(path, b"earlier")
        fails(folder, [*train, "--report", "report", "--curve", "curve", "--model",
                       "model", "--lr", "1e6", "--epochs", "3"], ["diverged"])
        for path in paths:
            require(get(path) == b"earlier", f"{path} was changed")
    return case


# ---- model files -----------------------------------------------------------------------

# (name, what is done to the bytes of a good model file, words of the line)
MODELS = [
    ("* a model file cut short", cut, ["net.dml", "checksum", "write it anew"]),
    ("a model file too long", longer, ["net.dml", "checksum", "write it anew"]),
    ("a model file damaged", damaged, ["net.dml", "checksum", "write it anew"]),
    ("a model file of another kind", magic, ["net.dml", "first bytes", "write it anew"]),
    ("a model file empty", lambda data: b"", ["net.dml", "first bytes", "write it anew"]),
]


def model_cases(nranks, idx, model, cifar):
    test = [Job.launcher, "-n", nranks, Job.program, "test", "--batch", 12,
            "--threads", 1, "--quiet", "--data"]

    def make(damage, words):
        def case(folder):
            put(os.path.join(folder, "net.dml"), damage(get(model)))
            fails(folder, [*test, idx, "--model", "net.dml"], words)
        return case

    cases = [(name, make(damage, words)) for name, damage, words in MODELS]

    def on(name, words, *options, data=idx, prepare=None):
        def case(folder):
            link_full(folder)
            if prepare:
                prepare(os.path.join(folder, "here"))
            fails(folder, [*test, data, *options], words)
        cases.append((name, case))

    on("a model file missing", ["here", "No such file"], "--model", "here")
    on("a folder as model file", ["here", "directory"], "--model", "here",
       prepare=os.mkdir)
    on("a pipe as model file", ["here", "--model"], "--model", "here", prepare=os.mkfifo)
    on("no model file given", ["--model FILE is needed"])
    on("a model for other images", ["1 x 12 x 12", "3 x 32 x 32"], "--model", model,
       data=cifar)
    on("a test's batch that cannot be divided", [f"--batch {nranks + 1}"], "--model",
       model, "--batch", nranks + 1)
    on("a test's report on a full device", ["full", "No space left"], "--model",
       model, "--report", "full")
    if nranks == 1:
        cases = [c for c in cases if "divided" not in c[0]]
    return cases


# ---- all -------------------------------------------------------------------------------

def make_cases(top, nranks):
    idx, cifar, model = (os.path.join(top, n) for n in ("idx", "cifar", "good.dml"))
    make_idx(idx)
    make_cifar(cifar)
    mpirun(top, nranks, "train", "--data", idx, *BATCH, "--epochs", 1, "--model", model)
    start = [Job.launcher, "-n", nranks, Job.program]
    plain = [*start, "train", *BATCH]
    train = [*plain, "--data", idx, "--epochs", 1]
    cases = [(name, make_idx_case(idx, plain, damage, words))
             for name, damage, words in IDX]
    cases += [(name, make_cifar_case(cifar, plain, *row)) for name, *row in CIFAR]
    cases.append(("a label beyond the training set's", make_parts_case(idx, plain)))
    cases += [(name, lambda folder, o=options, w=words: fails(folder, [*train, *o], w))
              for name, options, words in OPTIONS]
    cases.append(("* a batch that cannot be divided", make_batch_case(nranks, train)))
    cases.append(("no command", lambda folder: fails(folder, start, ["which command?"])))
    cases.append(("an unknown command", lambda folder: fails(
        folder, [*start, "trian"], ["unknown command \"trian\"", "--help"])))
    cases += output_cases(train)
    cases.append(("older files stay", older_files_stay(train)))
    cases += model_cases(nranks, idx, model, cifar)
    if nranks == 2:
        return cases + pair_cases(idx)
    return [case for case in cases if case[0].startswith("* ")]


if __name__ == "__main__":
    sys.exit(main(make_cases))
