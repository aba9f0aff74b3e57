#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Train dml-cnn's net `small` in PyTorch and print the speed: the peer of perf/cnn-vs-torch.

Same net, batch, optimizer and data as `dml-cnn train --net small`. The images are float
tensors in memory before the clock starts, so PyTorch pays nothing for loading. Speed is
the median over blocks of steps, after a warm-up. One JSON object on standard output.
"""
import argparse
import gzip
import json
import statistics
import time


def read_idx(torch, path):
    """An idx file of bytes (plain or gzip) as a uint8 tensor."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as file:
        raw = file.read()
    ndim = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * d:8 + 4 * d], "big") for d in range(ndim)]
    return torch.frombuffer(bytearray(raw[4 + 4 * ndim:]), dtype=torch.uint8).reshape(shape)


def small(nn):
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10))


def main():
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--data", default="/usr/share/datasets/fashion-mnist", help="folder of the idx files")
    cli.add_argument("--threads", type=int, default=2)
    cli.add_argument("--batch", type=int, default=128)
    cli.add_argument("--blocks", type=int, default=7, help="measured blocks")
    cli.add_argument("--block-steps", type=int, default=40, help="steps of a block")
    cli.add_argument("--warmup-steps", type=int, default=20)
    cli.add_argument("--channels-last", action="store_true", help="NHWC memory order")
    args = cli.parse_args()

    import torch
    from torch import nn
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)

    images = read_idx(torch, args.data + "/train-images-idx3-ubyte.gz")
    labels = read_idx(torch, args.data + "/train-labels-idx1-ubyte.gz").long()
    images = (images.float().div_(255).sub_(0.286).div_(0.353)).unsqueeze(1)
    model = small(nn)
    if args.channels_last:
        model = model.to(memory_format=torch.channels_last)
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = torch.randperm(len(images))
    nbatches = len(images) // args.batch
    step = 0

    def run(nsteps):
        nonlocal step
        for _ in range(nsteps):
            first = step % nbatches * args.batch
            rows = order[first:first + args.batch]
            optimizer.zero_grad()
            loss = loss_of(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            step += 1
        return loss.item()

    run(args.warmup_steps)
    speeds = []
    for _ in range(args.blocks):
        start = time.perf_counter()
        loss = run(args.block_steps)
        speeds.append(args.block_steps * args.batch / (time.perf_counter() - start))
    print(json.dumps({
        "peer": "torch", "version": torch.__version__, "threads": args.threads,
        "batch": args.batch, "samples_per_second": round(statistics.median(speeds), 1),
        "min": round(min(speeds), 1), "max": round(max(speeds), 1), "loss": round(loss, 4)}))


if __name__ == "__main__":
    main()
