#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Simulate collectives on clusters of 2 to 1,024 ranks, beside their formulas.

Prints a table of simulated seconds, the formula's, and their ratio, and draws the times
over the number of ranks (--plot). Fails when a ratio is more than 5 % from 1, or when
a result is wrong. Needs SimGrid (libsimgrid-dev) and a build with -Dmpi=smpi.
"""
import argparse
import math
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(HERE, "../../build-smpi/perf/smpi/dml-simulate.so")

# The cluster: each host has a link of its own, up and down, to a switch without limit;
# a message passes two. Messages within a host do not share anything.
LINK_S, LINK_BYTES_S = 10e-6, 10e9 / 8
LOCAL_S, LOCAL_BYTES_S = 1e-6, 10e9
PER_HOST = 8  # ranks, for the hierarchical algorithm; the others have a host each
ALPHA, BETA = 2 * LINK_S, 1 / LINK_BYTES_S

SMALL, LARGE = 4096, 256 * 1024
TOLERANCE = 0.05
PART_BLOCKS = 16
# Ranks up to which a curve with P^2 messages is simulated whole; beyond, its two phases
# one by one, with PART_BLOCKS of the blocks.
WHOLE = {"ring": 256, "hierarchical": 512}

OPTIONS = ["network/model:CM02",  # latency + bytes / bandwidth, without factors
           "network/crosstraffic:0",  # an answer's traffic does not slow data down
           "smpi/simulate-computation:no",  # sums take no simulated time
           "smpi/test:0", "smpi/iprobe:0", "smpi/wtime:0",  # nor does asking
           "smpi/async-small-thresh:65536",  # up to 64 KiB leave before they are awaited
           "smpi/allgather:bruck",  # the default is quadratic
           "smpi/shared-malloc-blocksize:268435456",
           "contexts/stack-size:256"]
# A tree's formula supposes that its segments follow each other on a link, as in a socket,
# but all messages under way share a link: so at most one for each of two children.
TREE_OPTIONS = OPTIONS + ["maxmin/concurrency-limit:2"]
ENVIRONMENT = {"DML_WAIT": "block", "DML_SHM": "0", "DML_ROLL_CALL": "0",
               "DML_MEASURE": "0"}


# ---- formulas: seconds for P ranks and S bytes, as in doc/collectives.md ---------------

def ring(p, s):
    return 2 * (p - 1) * (ALPHA + s / p * BETA)


def half_ring(p, s):
    return (p - 1) * (ALPHA + s / p * BETA)


def recursive_doubling(p, s):
    return math.log2(p) * (ALPHA + s * BETA)


def rabenseifner(p, s):
    return 2 * (math.log2(p) * ALPHA + (p - 1) / p * s * BETA)


def double_binary_tree(p, s):
    segment = min(max(s / 64, 4096), 32 * 1024, s / 2)
    sent = min(2, p / 2)  # vectors, by an inner rank with two children, if there is one
    way = math.ceil(math.log2(p)) * (ALPHA + 2 * segment * BETA)
    return 2 * way + sent * (s - 2 * segment) * BETA


def hierarchical(p, s):
    h = p / PER_HOST
    between = (h - 1) / h * s * BETA
    within = (PER_HOST - 1) / PER_HOST * s / LOCAL_BYTES_S
    return 2 * ((h - 1) * ALPHA + 2 * LOCAL_S + max(between, within))


def half_hierarchical(p, s):
    return hierarchical(p, s) / 2


# Curve of the picture -> (collective, algorithm, formula).
CURVES = {
    "ring": ("allreduce", "ring", ring),
    "ring, reduce_scatter": ("reduce_scatter", "ring", half_ring),
    "ring, allgather": ("allgather", "ring", half_ring),
    "recursive doubling": ("allreduce", "recursive_doubling", recursive_doubling),
    "rabenseifner": ("allreduce", "rabenseifner", rabenseifner),
    "double binary tree": ("allreduce", "double_binary_tree", double_binary_tree),
    "hierarchical": ("allreduce", "hierarchical", hierarchical),
    "hierarchical, reduce_scatter": ("reduce_scatter", "hierarchical", half_hierarchical),
    "hierarchical, allgather": ("allgather", "hierarchical", half_hierarchical),
}


def wanted(curve, ranks):
    """Whether a curve has a point there."""
    whole, _, phase = curve.partition(", ")
    if whole == "hierarchical" and ranks < 2 * PER_HOST:
        return False
    return (ranks > WHOLE.get(whole, ranks)) == bool(phase)


class Point:
    """One simulated call."""

    def __init__(self, curve, ranks, size, line):
        fields = line.split()
        self.curve, self.ranks, self.size = curve, ranks, size
        self.blocks, self.seconds, self.wrong = int(fields[5]), float(fields[6]), fields[7]
        self.formula = CURVES[curve][2](ranks, size)
        self.ratio = self.seconds / self.formula
        self.good = self.wrong in ("0", "-") and abs(self.ratio - 1) <= TOLERANCE

    def __str__(self):
        part = "" if self.blocks == self.ranks else f"; {self.blocks} blocks of {self.ranks}"
        note = "" if self.good else "FAILED"
        return (f"{self.curve + part:44} {self.ranks:5} {self.size:8} {1e6 * self.seconds:12.2f}"
                f" {1e6 * self.formula:12.2f} {self.ratio:7.3f} {self.wrong:>5} {note}").rstrip()


def platform(folder):
    """The cluster's description, and who is on which host: with one rank each, and more."""
    names = [os.path.join(folder, n) for n in ("cluster.xml", "hosts-1", "hosts-n")]
    hosts = 1024
    with open(names[0], "w", encoding="utf-8") as file:
        file.write(f"""<?xml version="1.0"?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="cluster" prefix="h" suffix="" radical="0-{hosts - 1}" speed="1Gf"
           bw="{LINK_BYTES_S:.0f}Bps" lat="{LINK_S}s" sharing_policy="SPLITDUPLEX"
           loopback_bw="{LOCAL_BYTES_S:.0f}Bps" loopback_lat="{LOCAL_S}s"/>
</platform>
""")
    for name, each in (names[1], 1), (names[2], PER_HOST):
        with open(name, "w", encoding="utf-8") as file:
            file.writelines(f"h{i // each}\n" for i in range(hosts))
    return names


def simulate(args, files, ranks, curves, sizes):
    """All points of some curves at one number of ranks, in one run of the simulator."""
    items, what = [], []
    for curve in curves:
        coll, algorithm, _ = CURVES[curve]
        part = f"/{PART_BLOCKS}" if "," in curve else ""
        for size in sizes:
            items.append(f"{coll}/{algorithm}/{size}{part}")
            what.append((curve, size))
    if not items:
        return []
    hosts = files[2] if curves[0].startswith("hierarchical") else files[1]
    options = TREE_OPTIONS if curves[0].endswith("tree") else OPTIONS
    command = ["smpirun", "-no-privatize", "-np", str(ranks), "-platform", files[0],
               "-hostfile", hosts, "--log=root.thresh:warning",
               *(f"--cfg={o}" for o in options), os.path.abspath(args.program), *items]
    run = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, text=True,
                         capture_output=True, check=False)
    lines = run.stdout.splitlines()
    if run.returncode != 0 or len(lines) != len(items):
        sys.exit(f"sweep: {' '.join(command)}: exit status {run.returncode}\n"
                 f"{run.stdout}{run.stderr}")
    return [Point(curve, ranks, size, line) for (curve, size), line in zip(what, lines)]


def draw(points, out):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    ranks = sorted({p.ranks for p in points})
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6), sharex=True)
    for ax, size in zip(axes, (SMALL, LARGE)):
        for i, curve in enumerate(c for c in CURVES if "," not in c):
            at = {}  # ranks: microseconds; of two phases their sum
            for p in points:
                if p.size == size and p.curve.partition(", ")[0] == curve:
                    at[p.ranks] = at.get(p.ranks, 0) + 1e6 * p.seconds
            x, y = sorted(at), [at[n] for n in sorted(at)]
            ax.plot(x, y, "o", color=f"C{i}", markersize=4, label=curve)
            ax.plot(x, [1e6 * CURVES[curve][2](n, size) for n in x], color=f"C{i}",
                    linewidth=1)
        ax.set_xscale("log", base=2)
        ax.set_xticks(ranks, [f"{n:,}" for n in ranks], rotation=45)
        ax.set_yscale("log")
        ax.set_title(f"all-reduce of {size // 1024} KiB", loc="left")
        ax.set_xlabel("ranks")
        ax.set_ylabel("simulated microseconds")
        ax.grid(True, alpha=0.3)
    axes[0].legend(frameon=False, fontsize="small")
    figure.suptitle("Simulated (SimGrid SMPI): dots; formulas: lines. 10 Gbit/s, 20 us; "
                    f"hierarchical: {PER_HOST} ranks a host", fontsize="medium")
    figure.tight_layout()
    figure.savefig(out, dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=PROGRAM, metavar="FILE",
                        help="dml-simulate.so (default: that of build-smpi)")
    parser.add_argument("--ranks", default="2,4,8,16,32,64,128,256,512,1024",
                        help="numbers of ranks, powers of two up to 1024")
    parser.add_argument("--quick", action="store_true", help="16 and 64 ranks only")
    parser.add_argument("--plot", metavar="FILE", help="picture to write")
    args = parser.parse_args()
    ranks = [16, 64] if args.quick else [int(n) for n in args.ranks.split(",")]
    points = []
    print(f"{'simulated microseconds':44} {'ranks':>5} {'bytes':>8} {'simulated':>12}"
          f" {'formula':>12} {'ratio':>7} wrong")
    with tempfile.TemporaryDirectory() as folder:
        files = platform(folder)
        for n in ranks:
            curves = [c for c in CURVES if wanted(c, n)]
            several = [c for c in curves if c.startswith("hierarchical")]
            trees = [c for c in curves if c.endswith("tree")]
            others = [c for c in curves if c not in several + trees]
            for curves in others, trees, several:
                for point in simulate(args, files, n, curves, (SMALL, LARGE)):
                    print(point, flush=True)
                    points.append(point)
    if args.plot:
        draw(points, args.plot)
    failed = sum(not p.good for p in points)
    print(f"{len(points) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
