#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Train dml-cnn's nets in PyTorch on a GPU and print the speed: the peer of perf/cnn-gpu.

Net, batch, optimizer and shapes of the data are dml-cnn's. Images are random numbers that
lie on the device before the clock starts, in channels_last order, so PyTorch pays nothing
for loading. Speed is the median over blocks of steps, after a warm-up that compiles or
captures. One JSON object on standard output.

    eager     every operation is launched by itself
    graph     the whole step is a CUDA graph, as PyTorch's documentation captures one
    compile   torch.compile of the net
"""
import argparse
import json
import statistics
import sys
import time

SHAPES = {  # channels, height and width, classes
    "small": (1, 28, 10), "resnet20": (3, 32, 10), "resnet50": (3, 224, 1000)}


def conv(nn, inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def make_small(nn):
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10))


def make_residual(nn, functional):
    """The module of a sum of a body and a shortcut."""
    class Residual(nn.Module):
        def __init__(self, body, shortcut):
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x):
            return functional.relu(self.body(x) + self.shortcut(x))
    return Residual


def make_pad(nn, functional):
    """Shortcut A of He et al. 2016: every second pixel, and channels of zeros."""
    class Pad(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.channels = channels

        def forward(self, x):
            return functional.pad(x[:, :, ::2, ::2],
                                  (0, 0, 0, 0, 0, self.channels - x.shape[1]))
    return Pad


def make_resnet20(nn, functional):
    residual, pad = make_residual(nn, functional), make_pad(nn, functional)
    layers = [conv(nn, 3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()]
    inputs = 16
    for stage in range(3):
        for block in range(3):
            channels, stride = 16 << stage, 2 if stage > 0 and block == 0 else 1
            body = nn.Sequential(
                conv(nn, inputs, channels, 3, stride), nn.BatchNorm2d(channels), nn.ReLU(),
                conv(nn, channels, channels, 3), nn.BatchNorm2d(channels))
            layers.append(residual(body, pad(channels) if stride == 2 else nn.Identity()))
            inputs = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def make_resnet50(nn, functional):
    residual = make_residual(nn, functional)
    layers = [conv(nn, 3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(),
              nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            middle, stride = 64 << stage, 2 if stage > 0 and block == 0 else 1
            outputs = 4 * middle
            body = nn.Sequential(
                conv(nn, inputs, middle, 1), nn.BatchNorm2d(middle), nn.ReLU(),
                conv(nn, middle, middle, 3, stride), nn.BatchNorm2d(middle), nn.ReLU(),
                conv(nn, middle, outputs, 1), nn.BatchNorm2d(outputs))
            shortcut = nn.Identity() if block else nn.Sequential(
                conv(nn, inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
            layers.append(residual(body, shortcut))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(2048, 1000))


class Training:
    """A net, its optimizer and data that lies on the device."""

    def __init__(self, torch, args):
        self.torch, self.args, self.next = torch, args, 0
        nn = torch.nn
        channels, size, classes = SHAPES[args.net]
        makers = {"small": lambda: make_small(nn),
                  "resnet20": lambda: make_resnet20(nn, nn.functional),
                  "resnet50": lambda: make_resnet50(nn, nn.functional)}
        self.net = makers[args.net]().to(args.device, memory_format=torch.channels_last)
        self.loss_of = nn.CrossEntropyLoss()
        more = {"fused": True} if args.device == "cuda" else {}
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=args.lr, momentum=0.9,
                                         **more)
        self.batches = [
            (torch.randn(args.batch, channels, size, size, device=args.device)
             .contiguous(memory_format=torch.channels_last),
             torch.randint(classes, (args.batch,), device=args.device))
            for _ in range(4)]
        if args.mode == "compile":
            self.net = torch.compile(self.net)

    def work(self, images, labels):
        torch, half = self.torch, self.args.precision == "bf16"
        with torch.autocast(self.args.device, torch.bfloat16, enabled=half):
            loss = self.loss_of(self.net(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def plain_step(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.loss = self.work(*self.take())

    def take(self):
        self.next = (self.next + 1) % len(self.batches)
        return self.batches[self.next]

    def captured_step(self):
        for static, new in zip(self.static, self.take()):
            static.copy_(new, non_blocking=True)
        self.graph.replay()

    def prepare(self):
        """The function that does a step."""
        for _ in range(self.args.warmup_steps):
            self.plain_step()
        if self.args.mode != "graph":
            return self.plain_step
        torch = self.torch
        self.static = [tensor.clone() for tensor in self.batches[0]]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.optimizer.zero_grad(set_to_none=True)
                self.work(*self.static)
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph):
            self.loss = self.work(*self.static)
        return self.captured_step


def arguments():
    cli = argparse.ArgumentParser(description=__doc__,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--net", choices=sorted(SHAPES), default="small")
    cli.add_argument("--mode", choices=("eager", "graph", "compile"), default="eager")
    cli.add_argument("--precision", choices=("tf32", "bf16"), default="tf32")
    cli.add_argument("--batch", type=int, default=128)
    cli.add_argument("--lr", type=float, default=0.001)
    cli.add_argument("--blocks", type=int, default=7, help="measured blocks [7]")
    cli.add_argument("--block-steps", type=int, default=50, help="steps of a block [50]")
    cli.add_argument("--warmup-steps", type=int, default=20, help="[20]")
    cli.add_argument("--device", default="cuda", help="cpu: to see that it works [cuda]")
    args = cli.parse_args()
    if args.device != "cuda" and args.mode == "graph":
        cli.error("a graph needs a GPU")
    return args


def main():
    args = arguments()
    try:
        import torch
    except ImportError:
        sys.exit("peer_cnn_gpu.py: no torch; pip install torch")
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("peer_cnn_gpu.py: torch finds no GPU")
    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    training = Training(torch, args)
    step = training.prepare()
    speeds = []
    for _ in range(args.blocks):
        wait()
        start = time.perf_counter()
        for _ in range(args.block_steps):
            step()
        wait()
        speeds.append(args.block_steps * args.batch / (time.perf_counter() - start))
    print(json.dumps({
        "peer": "torch", "version": torch.__version__, "net": args.net, "mode": args.mode,
        "precision": args.precision, "batch": args.batch,
        "samples_per_second": round(statistics.median(speeds), 1),
        "min": round(min(speeds), 1), "max": round(max(speeds), 1),
        "parameters": sum(p.numel() for p in training.net.parameters()),
        "loss": round(training.loss.item(), 4)}))


if __name__ == "__main__":
    main()
