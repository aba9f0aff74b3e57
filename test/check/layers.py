#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Hold the arrows between the folders: who may include what, and who may call MPI.

The tables below are the architecture; doc/design.md draws them. Usage: layers.py [ROOT]
"""

import os
import re
import sys

import tree

# Folder of lib/ -> the folders it may include. Private headers "x/y.h" name a folder;
# public headers "dml/y.h" belong to the folder given in PUBLIC.
LIB = {
    "core": set(),
    "kernels": {"core"},
    "comm": {"core"},
    "compress": {"core", "kernels"},
    "optim": {"core", "kernels"},
    "skew": {"core", "kernels"},
    # Checksums and the search for delimiters run at memory bandwidth: loops per
    # instruction set, as all such.
    "data": {"core", "kernels"},
    "collectives": {"core", "kernels", "comm"},
    # Ranks agree on a snapshot; checksums run at memory bandwidth.
    "ckpt": {"core", "kernels", "comm", "collectives"},
    "sync": {"core", "kernels", "comm", "collectives", "compress", "optim"},
    "exchange": {"core", "kernels", "comm", "collectives", "skew"},
    # Fills the tables of functions that the other folders' headers declare.
    "gpu": {"core", "kernels", "comm", "collectives", "compress", "optim", "sync"},
}
PUBLIC = {
    "ctx.h": "core",
    "rng.h": "core",
    "status.h": "core",
    "types.h": "core",
    "version.h": "core",
    "vec.h": "kernels",
    "compress.h": "compress",
    "comm.h": "comm",
    "mpi.h": "comm",
    "watch.h": "comm",
    "ckpt.h": "ckpt",
    "coll.h": "collectives",
    "lr.h": "optim",
    "optim.h": "optim",
    "data.h": "data",
    "exchange.h": "exchange",
    "pipeline.h": "data",
    "records.h": "data",
    "text.h": "data",
    "plan.h": "skew",
    "rebalance.h": "skew",
    "sketch.h": "skew",
    "skew.h": "skew",
    "shard.h": "sync",
    "sync.h": "sync",
    "gpu.h": "gpu",
}
# Replaces MPI's functions by a library of its own, which uses libdml as a program does.
STANDS_OUTSIDE = {"shim"}
CALLS_MPI = {"comm"} | STANDS_OUTSIDE
# (folder, public header) -> why it may be included all the same.
EXCEPTIONS = {
    ("comm", "coll.h"): "for the names of the collectives that MPI itself offers",
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
MPI_CALL = re.compile(r"\bP?MPI_[A-Z]\w*\s*\(")


def lib_folder(path):
    """"comm" for lib/comm/x.c, None for lib/x.c, which may know all folders."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 else None


def check_lib(path, text, report):
    folder = lib_folder(path)
    if folder is not None and folder not in LIB.keys() | STANDS_OUTSIDE:
        report.fault(path, 1, f"folder lib/{folder} has no row in layers.py")
        return
    if folder not in CALLS_MPI:
        for call in MPI_CALL.finditer(text):
            report.fault(path, tree.line_of(text, call.start()),
                         "MPI is called in lib/comm only")
    if folder is None:
        return
    outside = folder in STANDS_OUTSIDE
    allowed = LIB.get(folder, set()) | {folder}
    for match in INCLUDE.finditer(text):
        line = tree.line_of(text, match.start())
        kind, name = match.groups()
        if kind == "<":
            if name == "mpi.h" and folder not in CALLS_MPI:
                report.fault(path, line, "<mpi.h> is included in lib/comm only")
            continue
        head, _, tail = name.partition("/")
        if head == "dml":
            if (folder, tail) in EXCEPTIONS:
                continue
            owner = PUBLIC.get(tail)
            if owner is None:
                report.fault(path, line, f"\"{name}\" belongs to no folder of lib/")
            elif owner not in allowed and not outside:
                report.fault(path, line, f"lib/{folder} may not use lib/{owner} "
                             f"(\"{name}\")")
        elif tail == "":
            report.fault(path, line, f"write \"{folder}/{name}\" for a private header")
        elif head not in allowed:
            report.fault(path, line, f"lib/{folder} may not use lib/{head} "
                         f"(\"{name}\")")
        elif head != folder and tail.endswith("_internal.h"):
            report.fault(path, line, f"\"{name}\" is for lib/{head} alone")


def check_public(path, text, report):
    for match in INCLUDE.finditer(text):
        line = tree.line_of(text, match.start())
        kind, name = match.groups()
        if name == "mpi.h" and path != "include/dml/mpi.h":
            report.fault(path, line, "<mpi.h> is included by dml/mpi.h only")
        if kind == '"' and not name.startswith("dml/"):
            report.fault(path, line, f"a public header may not include \"{name}\"")


def check_program(top, path, text, report):
    """apps and perf use the public headers, their own folder and apps/common."""
    own = os.path.dirname(path)
    for match in INCLUDE.finditer(text):
        kind, name = match.groups()
        if kind == "<" or name.startswith("dml/"):
            continue
        paths = [os.path.normpath(os.path.join(base, name))
                 for base in (own, "apps", "apps/common", "perf", "lib")]
        found = [p for p in paths if os.path.isfile(os.path.join(top, p))]
        if not found or os.path.dirname(found[0]) not in (own, "apps/common"):
            report.fault(path, tree.line_of(text, match.start()),
                         f"\"{name}\" is neither public, nor in {own}, nor in apps/common")


def main():
    top = tree.root()
    report = tree.Report()
    for path in tree.files(top, ".c", ".h", ".cu", ".cuh"):
        text = tree.without_comments(tree.read(top, path))
        folder = path.split("/")[0]
        if folder == "test":
            continue
        report.looked_at(path)
        if folder == "lib":
            check_lib(path, text, report)
        elif folder == "include":
            check_public(path, text, report)
        else:
            check_program(top, path, text, report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
