#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""CRFsuite, by python-crfsuite, on files of items: trained with L-BFGS, then timed at
labelling. Prints one JSON object. Called by crf-vs-crfsuite."""
import argparse
import io
import json
import re
import resource
import time

import pycrfsuite


def sentences(path):
    labels, items = [], []
    with open(path, encoding="latin-1", newline="\n") as file:
        for line in io.StringIO(file.read(), newline="\n"):
            cells = line.rstrip("\n").split("\t")
            if cells == [""]:
                if labels:
                    yield items, labels
                labels, items = [], []
                continue
            labels.append(cells[0])
            items.append([re.sub(r"\\(.)", r"\1", cell) for cell in cells[1:]])
    if labels:
        yield items, labels


class Trainer(pycrfsuite.Trainer):
    def __init__(self):
        super().__init__(verbose=False)
        self.log = []

    def message(self, message):
        self.log.append(message)


def numbers(log, name):
    return [float(text) for text in re.findall(rf"{name}: ([-+.e0-9]+)", log)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("model")
    parser.add_argument("--c2", type=float, default=1)
    parser.add_argument("--iterations", type=int, default=0)
    args = parser.parse_args()
    trainer = Trainer()
    for items, labels in sentences(args.train):
        trainer.append(items, labels)
    trainer.select("lbfgs")
    trainer.set_params({"c1": 0, "c2": args.c2})
    if args.iterations:
        trainer.set_params({"max_iterations": args.iterations})
    begin, cpu = time.monotonic(), time.process_time()
    trainer.train(args.model)
    seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
    log = "".join(trainer.log)
    steps = numbers(log, "Seconds required for this iteration")
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    tagger = pycrfsuite.Tagger()
    tagger.open(args.model)
    test = list(sentences(args.test))
    prepared = [pycrfsuite.ItemSequence(items) for items, _ in test]
    begin = time.monotonic()
    found = [tagger.tag(items) for items in prepared]
    tag_seconds = time.monotonic() - begin
    tokens = sum(len(labels) for _, labels in test)
    right = sum(a == b for out, (_, labels) in zip(found, test)
                for a, b in zip(out, labels))
    with open(args.model + ".tagged", "w", encoding="latin-1") as file:
        for out, (_, labels) in zip(found, test):
            file.writelines(f"{a} {b}\n" for a, b in zip(labels, out))
            file.write("\n")
    print(json.dumps({
        "version": pycrfsuite.CRFSUITE_VERSION, "train_seconds": seconds,
        "cpu_seconds": cpu, "iterations": len(steps),
        "iteration_seconds": seconds / max(1, len(steps)),
        "objective": numbers(log, "Loss")[-1], "peak_rss_bytes": rss,
        "features": int(numbers(log, "Number of features")[0]),
        "tag_tokens_per_second": tokens / tag_seconds, "accuracy": right / tokens}))


if __name__ == "__main__":
    main()
