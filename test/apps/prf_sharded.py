#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-prf with rows sharded over ranks: the model of one rank, byte for byte, for tables
of all kinds; bytes sent as the page says; memory that falls with the number of ranks.

Usage: prf_sharded.py LAUNCHER PROGRAM NRANKS [PART OF A CASE'S NAME]
"""

import json
import os
import random
import sys

from jobs import Job, fails, get, main, make_idx, mpirun, put, require
from prf import SHARDED, alone, report_of, write_numbers, write_table

GROUPS = SHARDED, SHARDED[:2]
SCORES = "rows test_rows features classes oob_value test_plain test_weighted".split()


def report_in(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def same(folder, nranks, *words, groups=(SHARDED,)):
    """Sharded, with groups of one rank or others, as alone."""
    alone(folder, "train", *words, "--threads", "1", "--quiet", "--model", "one.dml",
          "--report", "one.json")
    one = report_in(folder, "one.json")
    for more in groups:
        report = report_of(folder, nranks, *words, *more, "--model", "m.dml")
        require(get(os.path.join(folder, "m.dml")) == get(os.path.join(folder, "one.dml")),
                f"another forest: {words} {more}")
        for key in SCORES:
            require(report[key] == one[key],
                    f"{key} {report[key]}, alone {one[key]}: {words} {more}")
        require(report["rows_mode"] == ("sharded" if nranks > 1 else "shared"),
                f"rows_mode {report['rows_mode']}")


def classes(nranks, criterion):
    def case(folder):
        write_table(os.path.join(folder, "t.csv"), 4000, noise=0.2)
        words = ["--data", "t.csv", "--trees", "3", "--criterion", criterion]
        same(folder, nranks, *words, "--test-every", "5", groups=GROUPS)
        same(folder, nranks, *words, "--weights", "weight", "--train-rows", "3500")
    return case


def numbers(nranks):
    def case(folder):
        write_numbers(os.path.join(folder, "n.tsv"), 4000)
        words = ["--data", "n.tsv", "--trees", "3"]
        same(folder, nranks, *words, "--test-every", "7", "--sample-fraction", "0.8",
             groups=GROUPS)
        same(folder, nranks, *words, "--weights", "2", "--min-leaf", "4")
    return case


def odd(nranks):
    """Fewer rows than ranks, one row, one class, a constant number, test rows in a file
    with its columns in another order, and more of them than there are rows."""
    def case(folder):
        table, test = os.path.join(folder, "t.csv"), os.path.join(folder, "u.csv")
        for text in ("1,2,a\n3,4,b\n", "1,2,a\n", "1,2,a\n3,4,a\n" * 900):
            put(table, text.encode())
            same(folder, nranks, "--data", "t.csv", "--trees", "3")
        rng = random.Random(6)
        cells = [(rng.random(), rng.randrange(9)) for _ in range(2000)]
        put(table, "".join(f"{a:.3f},{b},0.5\n" for a, b in cells).encode())
        same(folder, nranks, "--data", "t.csv", "--trees", "2", "--task", "regression")
        put(table, ("x,y,z\n" + "".join(f"{a:.3f},{b},{int(a * 3 + b / 4)}\n"
                                        for a, b in cells)).encode())
        put(test, ("z,y,more,x\n" + "".join(f"{int(a * 3 + b / 4)},{b},8,{a:.2f}\n"
                                            for a, b in cells + cells) +
                   ",1,1,1\n7,1,1,1\n").encode())
        for task in "class", "regression":
            same(folder, nranks, "--data", "t.csv", "--test", "u.csv", "--trees", "2",
                 "--task", task)
        make_idx(os.path.join(folder, "idx"))
        same(folder, nranks, "--data", "idx", "--trees", "3")
    return case


def wide(nranks):
    """Subtrees with more cells than a block of the cache; more columns than rows."""
    def case(folder):
        rng = random.Random(4)
        with open(os.path.join(folder, "t.svm"), "w", encoding="utf-8") as file:
            for row in range(3000):
                cells = [rng.randrange(9) for _ in range(12)]
                label = int(sum(cells[:3]) > 12) ^ (rng.random() < 0.1)
                file.write(f"{label} " + " ".join(
                    f"{90 * i}:{v}" for i, v in enumerate(cells)) + "\n")
        same(folder, nranks, "--data", "t.svm", "--format", "libsvm", "--trees", "2")
    return case


def chosen(nranks):
    def case(folder):
        write_table(os.path.join(folder, "t.csv"), 500)
        words = ["--data", "t.csv", "--trees", "2"]
        for more, mode in (([], "shared"), (["--table-mib", "0"], "sharded"),
                           (["--table-mib", "0", "--rows", "shared"], "shared")):
            report = report_of(folder, nranks, *words, *more)
            require(report["rows_mode"] == mode, f"{report['rows_mode']} with {more}")
        start = [Job.launcher, "-n", str(nranks), Job.program, "train", *words, *SHARDED,
                 "--quiet"]
        fails(folder, [*start, "--importance", "permutation"], ["--rows shared"])
        fails(folder, [*start, "--partition", "features"], ["--partition features"])
        put(os.path.join(folder, "t.csv"), b"1,2,a\n1,2,b\n" * 9000 + b"x,2,b\n")
        fails(folder, start, ["t.csv"])
    return case


def bytes_sent(nranks):
    """All features are used in all nodes, and all nodes have both classes."""
    def case(folder):
        rng = random.Random(8)
        rows, width, mtry, trees = 20000, 8, 4, 2
        put(os.path.join(folder, "t.csv"), "".join(
            ",".join(str(rng.randrange(1000)) for _ in range(width)) +
            f",{rng.randrange(2)}\n" for _ in range(rows)).encode())
        mpirun(folder, nranks, "train", "--data", "t.csv", "--trees", str(trees), "--mtry",
               str(mtry), "--quiet", "--report", "r.json", *SHARDED,
               env={"DML_ALLREDUCE": "ring"})
        report = report_in(folder, "r.json")
        nodes, alone_ = report["shared_nodes"], report["entries_alone"]
        drawn = trees * rows * (1 - 1 / 2.71828)
        others = (nranks - 1) / nranks
        moved = drawn * (width + 6) * others
        require(abs(report["moved_bytes"] / moved - 1) < 0.05,
                f"{report['moved_bytes']} bytes of rows moved, not {moved:.0f}")
        require(nodes > 0.6 * drawn / alone_, f"{nodes} nodes")
        summed = nodes * (256 * 4 * mtry * 2 + 8 * 2 + 8) * 2 * (nranks - 1)
        rest = report["bytes_sent"] - moved
        require(0.95 < rest / summed < 1.15,
                f"{rest:.0f} bytes beside the rows, not {summed} for {nodes} nodes")
    return case


def own_bytes(report):
    """Memory that a rank does not share with others, and has written to. The peak of all its pages is no
    measure: it counts the pages of the channels between ranks that it has touched, which
    depend on how messages were paced."""
    return report["private_bytes"] + report["table_bytes"]


def memory(nranks):
    """So many rows that bins are made from a sample: the same model, and a rank's memory
    falls with their number, but for what it needs in any case."""
    def case(folder):
        rng = random.Random(9)
        rows, width = 1200000, 8
        line = ",".join(["%d"] * (width + 1)) + "\n"
        with open(os.path.join(folder, "t.csv"), "w", encoding="utf-8") as file:
            for _ in range(rows // 1000):
                cells = rng.randbytes(1000 * width)
                file.write("".join(
                    line % (*cells[at:at + width], (cells[at] ^ cells[at + 1]) > 100)
                    for at in range(0, len(cells), width)))
        write_table(os.path.join(folder, "s.csv"), 100)
        words = ["--trees", "1", "--max-depth", "6", "--threads", "1"]
        os.environ["MALLOC_PERTURB_"] = "0"  # else all that was asked for is written to
        fixed = own_bytes(report_of(folder, nranks, "--data", "s.csv", *words, *SHARDED))
        one = report_of(folder, 1, "--data", "t.csv", *words, "--model", "one.dml")
        many = report_of(folder, nranks, "--data", "t.csv", *words, *SHARDED, "--model",
                         "m.dml")
        require(get(os.path.join(folder, "m.dml")) == get(os.path.join(folder, "one.dml")),
                "another forest")
        one, many = own_bytes(one), own_bytes(many)
        part = (many - fixed) / (one - fixed)
        print(f"{fixed >> 20} {one >> 20} {many >> 20} MiB: {part:.2f}")
        require(part < 0.5, f"a rank of {nranks} needs {part:.2f} of one alone")
    return case


def make_cases(top, nranks):
    made = [("* gini", classes(nranks, "gini")), ("* numbers", numbers(nranks)),
            ("gain ratio", classes(nranks, "gain-ratio")), ("odd tables", odd(nranks))]
    if nranks <= 3:
        made += [("entropy", classes(nranks, "entropy")), ("wide", wide(nranks))]
    if nranks > 1:
        made += [("bytes sent", bytes_sent(nranks))]
    if nranks == 2:
        made += [("* chosen", chosen(nranks))]
    if nranks == 4:
        made += [("memory", memory(nranks))]
    return made


if __name__ == "__main__":
    sys.exit(main(make_cases))
