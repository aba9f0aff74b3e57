#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Steps of PyTorch's and timm's optimizers: the peer of perf/optim-vs-torch.

The tensors are those of dml-perf-optim: one of N parameters, or the 199 of BERT-base.
Prints one JSON object a line on standard output: name, tensors, params, threads,
step_ms (median), min_ms and version.
"""
import argparse
import json
import statistics
import sys
import time

BERT_LAYER = [(768, 768), (768,)] * 4 + [(768,)] * 2 + [
    (768, 3072), (3072,), (3072, 768), (768,)] + [(768,)] * 2
BERT = [(30522, 768), (512, 768), (2, 768), (768,), (768,)] + BERT_LAYER * 12 + [
    (768, 768), (768,)]


def makers(torch, names):
    """name -> function from parameter groups to an optimizer. timm only where needed."""
    from_timm = {}
    if any(name.startswith(("lamb", "lars")) for name in names):
        from timm.optim import Lamb, Lars
        from_timm = {
            # The global clip is LAMB's default there; dml-perf-optim has --clip for it.
            "lamb": lambda p: Lamb(p, lr=1e-4, weight_decay=0.01, max_grad_norm=None),
            "lamb_clip": lambda p: Lamb(p, lr=1e-4, weight_decay=0.01, max_grad_norm=1.0),
            "lars": lambda p: Lars(p, lr=1e-4, momentum=0.9, weight_decay=1e-4),
        }
    return {
        "sgd": lambda p: torch.optim.SGD(p, lr=1e-4, momentum=0.9),
        "sgd_fused": lambda p: torch.optim.SGD(p, lr=1e-4, momentum=0.9, fused=True),
        "adam": lambda p: torch.optim.Adam(p, lr=1e-4),
        "adam_fused": lambda p: torch.optim.Adam(p, lr=1e-4, fused=True),
        "adamw": lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.01),
        "adamw_foreach": lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.01,
                                                     foreach=True),
        "adamw_fused": lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.01,
                                                   fused=True),
        **from_timm,
    }


def measure(torch, make, shapes, steps):
    params = [torch.nn.Parameter(torch.rand(shape) - 0.5) for shape in shapes]
    for p in params:
        p.grad = (torch.rand(p.shape) - 0.5) * 0.01
    exempt = {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0}
    groups = [{"params": [p for p in params if p.ndim >= 2]}]
    optimizer = make(groups + ([exempt] if exempt["params"] else []))
    optimizer.step()  # makes the state
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.step()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def main():
    cli = argparse.ArgumentParser(description=__doc__,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--optimizer", action="append", required=True, help="repeatable")
    cli.add_argument("--tensors", choices=["one", "bert"], default="one")
    cli.add_argument("--params", type=int, default=100_000_000)
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--steps", type=int, default=3)
    args = cli.parse_args()

    import torch
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    shapes = BERT if args.tensors == "bert" else [(args.params // 1000, 1000)]
    known = makers(torch, args.optimizer)
    for name in args.optimizer:
        if name not in known:
            sys.exit(f"peer_optim_torch: no optimizer {name}; known: {', '.join(known)}")
        try:
            times = measure(torch, known[name], shapes, args.steps)
        except (TypeError, RuntimeError, ValueError) as error:
            print(f"peer_optim_torch: {name} is not to be had: {error}", file=sys.stderr)
            continue
        count = sum(torch.Size(shape).numel() for shape in shapes)
        print(json.dumps({"name": name, "tensors": args.tensors, "params": count,
                          "threads": args.threads, "step_ms": statistics.median(times),
                          "min_ms": min(times), "version": torch.__version__}), flush=True)


if __name__ == "__main__":
    main()
