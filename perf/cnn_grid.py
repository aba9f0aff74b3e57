# SPDX-License-Identifier: BSD-3-Clause
"""A grid of dml-cnn runs, one after the other: what perf/large-batch and
perf/compress-accuracy share.

A run is a label and options. Its figures are one line of FOLDER/runs.jsonl, its curve is
FOLDER/curves/LABEL-SEED.jsonl; runs whose line is there already are left out, so that a
grid that was stopped goes on. The table has mean and spread over the seeds of the final
test accuracy, and the picture the curves of the first seed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPES = os.path.join(HERE, "..", "apps", "cnn", "recipes")
PLOT = os.path.join(HERE, "..", "scripts", "plot")

MPI_ENV = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
}


def recipe(name):
    return ["--options", os.path.join(RECIPES, name + ".txt")]


def arguments(text, folder):
    cli = argparse.ArgumentParser(description=text,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--build", default="build", help="build folder [build]")
    cli.add_argument("--launch", default="mpirun -n 2",
                     help="what starts the ranks [mpirun -n 2]")
    cli.add_argument("--folder", default=folder, help=f"for results [{folder}]")
    cli.add_argument("--seeds", type=int, default=3, help="runs of each kind [3]")
    cli.add_argument("--epochs", type=int, default=20, help="[20]")
    cli.add_argument("--only", default="", metavar="WORD",
                     help="only labels with this word in them")
    cli.add_argument("--threads", type=int, help="of each rank; 1 where hosts are network "
                     "namespaces of a machine that has a core for each [dml-cnn's auto]")
    cli.add_argument("--data", help="folder of images, as for dml-cnn")
    return cli


def lines_of(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def train(args, label, seed, options):
    """One run; returns its report, with label and seed."""
    curve = os.path.join(args.folder, "curves", f"{label}-{seed}.jsonl")
    report = os.path.join(args.folder, "report.json")
    command = [*args.launch.split(), f"{args.build}/apps/dml-cnn", "train", "--quiet",
               "--epochs", str(args.epochs), *options, "--seed", str(seed),
               "--curve", os.path.abspath(curve), "--report", os.path.abspath(report)]
    if args.threads:
        command += ["--threads", str(args.threads)]
    if args.data:
        command += ["--data", args.data]
    done = subprocess.run(command, env={**os.environ, **MPI_ENV}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0 and "diverged" in done.stderr:
        return {"label": label, "seed": seed, "diverged": True, "test_value": 0.1}
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    with open(report, encoding="utf-8") as file:
        return {"label": label, "seed": seed, "options": options, **json.load(file)}


def run(args, grid):
    """All runs of the grid that are not done yet: a list of (label, options)."""
    os.makedirs(os.path.join(args.folder, "curves"), exist_ok=True)
    path = os.path.join(args.folder, "runs.jsonl")
    done = {(line["label"], line["seed"]) for line in lines_of(path)}
    for seed in range(1, args.seeds + 1):
        for label, options in grid:
            if args.only not in label or (label, seed) in done:
                continue
            line = train(args, label, seed, options)
            print(f"{label}, seed {seed}: {line['test_value']:.4f}", file=sys.stderr)
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    return lines_of(path)


def table(grid, lines, base):
    """Markdown: a row per label; the gap is to the label "base", in points."""
    values = {label: [l["test_value"] for l in lines if l["label"] == label]
              for label, _ in grid}
    rows = ["| run | seeds | accuracy | spread | gap, points | bytes sent a step |",
            "| --- | --- | --- | --- | --- | --- |"]
    for label, _ in grid:
        if not values[label]:
            continue
        mean = statistics.mean(values[label])
        spread = max(values[label]) - min(values[label])
        gap = 100 * (mean - statistics.mean(values[base])) if values.get(base) else 0
        sent = [l["bytes_sent"] / l["steps"] for l in lines
                if l["label"] == label and "steps" in l]
        rows.append(f"| {label} | {len(values[label])} | {mean:.4f} | {spread:.4f} | "
                    f"{gap:+.2f} | {statistics.median(sent) if sent else 0:.0f} |")
    return "\n".join(rows) + "\n"


def picture(args, grid, name):
    """The curves of the first seed, drawn by scripts/plot."""
    paths = [os.path.join(args.folder, "curves", f"{label}-1.jsonl") for label, _ in grid]
    paths = [path for path in paths if os.path.exists(path)]
    out = os.path.join(args.folder, name + ".png")
    if paths and subprocess.run([PLOT, *paths, "-o", out], check=False).returncode == 0:
        print(f"picture: {out}", file=sys.stderr)


def finish(args, grid, lines, base, name):
    text = table(grid, lines, base)
    print(text, end="")
    with open(os.path.join(args.folder, name + ".md"), "w", encoding="utf-8") as file:
        file.write(text)
    picture(args, grid, name)
