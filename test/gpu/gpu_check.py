#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""scripts/gpu-check goes on after programs that fail, hang or are missing, ends what they
have started, and writes what it knows at all times. The programs are shell scripts.

Usage: gpu_check.py ROOT
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

HANGS = "sleep 300 & echo $! >> {pids}; setsid -w true; echo it began; wait\n"
PROGRAMS = {
    "test/unit/test_gpu_optim": "exit 0\n",
    "test/unit/test_gpu_codec": "echo its last words; exit 3\n",
    "test/unit/test_gpu_capture": "exit 77\n",
    "test/gpu/test_gpu_device": "exit 0\n",
    "test/gpu/test_gpu_collectives": HANGS,  # the next ones are missing
}


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)


def start(root, top, *words):
    """With a machine of these programs, a GPU by name, and no launcher."""
    env = {"PATH": os.path.join(top, "bin"), "DML_GPU": "fake"}
    return subprocess.Popen(
        [sys.executable, os.path.join(root, "scripts/gpu-check"), "--no-build", "--build",
         os.path.join(top, "build"), "--out", os.path.join(top, "out"), *words], env=env,
        stdout=subprocess.DEVNULL)


def results(top):
    with open(os.path.join(top, "out/gpu-check.json"), encoding="utf-8") as file:
        return {step["name"]: step for step in json.load(file)["steps"]}


def require(condition, text):
    if not condition:
        sys.exit("gpu_check.py: " + text)


def gone(top):
    with open(os.path.join(top, "pids"), encoding="utf-8") as file:
        pids = file.read().split()
    until = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}/exe") for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return len(pids) > 0


def goes_on(root, top):
    status = start(root, top, "--minutes", "0.2", "--parts", "tests,ranks").wait(60)
    require(status == 1, f"exit status {status} with steps that failed, 1 expected")
    found = results(top)
    for name, result in (
            ("network", "skipped: not built"), ("test_gpu_optim", "passed"),
            ("test_gpu_codec", "failed (3)"), ("test_gpu_capture", "skipped"),
            ("test_gpu_device-np1", "passed"), ("2 ranks", "skipped: no mpirun"),
            ("test_gpu_collectives-np1", "failed (not done after"),
            ("test_gpu_ckpt-np1", "not run: out of time")):
        require(found.get(name, {"result": "missing"})["result"].startswith(result),
                f"{name}: {found.get(name)}, {result} expected")
    require(found["test_gpu_codec"]["tail"] == "its last words\n", str(found))
    require(gone(top), "what a program has started goes on")


def is_ended(root, top):
    """By a time limit of somebody else."""
    job = start(root, top, "--parts", "tests")
    name = "test_gpu_collectives-np1"
    until = time.monotonic() + 30
    while not os.path.exists(os.path.join(top, "pids")):
        require(time.monotonic() < until, "the program that hangs does not begin")
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    status = job.wait(30)
    require(status == 128 + signal.SIGTERM, f"exit status {status} after SIGTERM")
    found = results(top)
    require("begun" in found[name]["result"], f"{found}")
    require(found["test_gpu_device-np1"]["result"] == "passed", f"{found}")
    require(gone(top), "what a program has started goes on after SIGTERM")


def main():
    root = os.path.abspath(sys.argv[1])
    for case in goes_on, is_ended:
        with tempfile.TemporaryDirectory() as top:
            for program, text in PROGRAMS.items():
                put(os.path.join(top, "build", program),
                    text.format(pids=os.path.join(top, "pids")))
            put(os.path.join(top, "bin/nvidia-smi"), "echo a GPU\n")
            for tool in "sleep", "setsid", "true":
                os.symlink("/usr/bin/" + tool, os.path.join(top, "bin", tool))
            case(root, top)


if __name__ == "__main__":
    main()
