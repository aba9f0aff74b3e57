#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Steps of PyTorch's and timm's optimizers on a GPU: the peers of dml-perf-gpu-optim.

The tensors are that program's: N parameters dealt out to 300 tensors. Prints one JSON
object a line on standard output: name, tensors, params, dtype, step_ms (median by the
device's events), gpu and versions. Needs the packages torch and timm, and a GPU.
"""
import argparse
import json
import statistics
import sys


def counts(params, tensors):
    left, out = params, []
    for i in range(tensors):
        even = left // (tensors - i)
        if i + 1 == tensors:
            count = left
        elif i % 3 == 0:
            count = min(768, even)
        else:
            count = (even + even // 3) | 1
        out.append(min(count, left))
        left -= out[-1]
    return out


def makers(torch, names):
    """name -> function from parameters to an optimizer. timm only where needed."""
    out = {
        "adamw_fused": lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.01,
                                                   fused=True),
        "adamw_foreach": lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.01,
                                                     foreach=True),
        "sgd_fused": lambda p: torch.optim.SGD(p, lr=1e-4, momentum=0.9, fused=True),
    }
    if any(name.startswith(("lamb", "lars")) for name in names):
        from timm.optim import Lamb, Lars
        out["lamb"] = lambda p: Lamb(p, lr=1e-4, weight_decay=0.01, max_grad_norm=None)
        out["lars"] = lambda p: Lars(p, lr=1e-4, momentum=0.9, weight_decay=1e-4)
    return out


def measure(torch, make, shapes, dtype, rounds):
    params = []
    for n in shapes:
        p = torch.nn.Parameter((torch.rand(n, device="cuda") - 0.5).to(dtype))
        p.grad = ((torch.rand(n, device="cuda") - 0.5) * 0.01).to(dtype)
        params.append(p)
    optimizer = make(params)
    times = []
    for i in range(rounds + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        optimizer.step()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", default="adamw_fused,adamw_foreach,sgd_fused,lamb,lars")
    parser.add_argument("--params", type=int, default=350_000_000)
    parser.add_argument("--tensors", type=int, default=300)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=31)
    args = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("peer_gpu_optim.py: no torch; pip install torch timm")
    if not torch.cuda.is_available():
        sys.exit("peer_gpu_optim.py: torch finds no GPU")
    names = args.names.split(",")
    known = makers(torch, names)
    for name in names:
        if name not in known:
            sys.exit(f"peer_gpu_optim.py: {name} is unknown; use {', '.join(known)}")
        ms = measure(torch, known[name], counts(args.params, args.tensors),
                     getattr(torch, args.dtype), args.rounds)
        print(json.dumps({"name": name, "tensors": args.tensors, "params": args.params,
                          "dtype": args.dtype, "step_ms": ms,
                          "gpu": torch.cuda.get_device_name(),
                          "torch": torch.__version__}), flush=True)


if __name__ == "__main__":
    main()
