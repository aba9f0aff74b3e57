#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-records as a user meets it, and its bytes beside a writer and reader of the
tests' own: what one writes the other reads.

Usage: records.py PROGRAM [PART OF A CASE'S NAME]
"""

import gzip
import math
import os
import random
import shutil
import struct
import sys

from jobs import get, put, require
from record_files import convert, fails, frames, main, parse, parse_index, run

SEED = 7


def own_writer_their_reader(folder):
    rng = random.Random(SEED)
    records = [rng.randbytes(rng.choice([0, 1, 7, 383, 384, 385, 3071, 3072, 5000]))
               for _ in range(200)]
    put(os.path.join(folder, "t"), frames(records))
    out, _ = run(folder, "inspect", "--file", "t")
    require(b"records: 200\n" in out and b"has no index" in out, str(out))
    require(b"damaged places: 0" in out, str(out))
    run(folder, "index", "--file", "t")
    entries = parse_index(os.path.join(folder, "t"))
    require([(e[2], e[3]) for e in entries] ==
            [(i, len(r)) for i, r in enumerate(records)], "keys and weights")
    out, _ = run(folder, "verify", "--file", "t")
    require(b"t: good: 200 records" in out, str(out))
    put(os.path.join(folder, "t.gz"), gzip.compress(frames(records)))
    out, _ = run(folder, "inspect", "--file", "t.gz", "--first", "0")
    require(b"records: 200\n" in out and b"record 0" not in out, str(out))


def their_writer_own_reader(folder):
    text = b"".join(b"line %d %s\n" % (i, b"x" * (i * 37 % 900)) for i in range(300))
    records = convert(folder, text, "--from", "lines")
    require(b"\n".join(records) + b"\n" == text, "other lines")
    entries = parse_index(os.path.join(folder, "out"))
    require([e[2] for e in entries] == list(range(300)), "keys")
    run(folder, "convert", "--from", "records", "--in", "out", "--to", "text", "--out",
        "back")
    require(get(os.path.join(folder, "back")) == text, "not the same text")


def tables(folder):
    text = b'id,word,w\r\n1,"a,b",0.5\n2,"say ""x""",2\n3,,1e1\n4,"a,b",0\n'
    records = convert(folder, text, "--key", "word", "--weight", "w")
    require(records == [b'1,"a,b",0.5', b'2,"say ""x""",2', b"3,,1e1", b'4,"a,b",0'],
            str(records))
    entries = parse_index(os.path.join(folder, "out"))
    require([e[3] for e in entries] == [0.5, 2, 10, 0], "weights")
    keys = [e[2] for e in entries]
    require(keys[0] == keys[3] and len(set(keys)) == 3, "keys")
    out, _ = run(folder, "convert", "--from", "records", "--in", "out", "--to", "text",
                 "--out", "-", "--first-line", "id,word,w")
    require(out.splitlines()[1] == b'1,"a,b",0.5' and out.startswith(b"id,word,w\n"),
            str(out))
    require(convert(folder, out, out="again") == records, "another table")


def lone_cells_and_weights(folder):
    records = convert(folder, b'name\n"a"\n""\n"b"\n', "--header", "yes")
    require(records == [b"a", b'""', b"b"], str(records))
    run(folder, "convert", "--from", "records", "--in", "out", "--to", "text", "--out",
        "back")
    require(convert(folder, get(os.path.join(folder, "back")), "--header", "no",
                    out="again") == records, "an empty cell is lost")
    for weight in [b"0x10", b"inf", b"nan", b"1e", b"--1", b"", b"1 2"]:
        put(os.path.join(folder, "t.csv"), b"a,w\n1,2\n1," + weight + b"\n")
        fails(folder, ["convert", "--in", "t.csv", "--out", "out", "--weight", "w"],
              "row 2", "is no number")
    convert(folder, b"a,w\n1, 2 \n1,+1.5e1\n", "--weight", "w")
    require([e[3] for e in parse_index(os.path.join(folder, "out"))] == [2, 15],
            "weights with blanks")


def standard_input(folder):
    run(folder, "convert", "--in", "-", "--out", "out", stdin=b"a\tb\n1\t2\n3\t4")
    require([r for _, r in parse(get(os.path.join(folder, "out")))] == [b"1\t2", b"3\t4"],
            "rows of standard input")


def rows_of_libsvm(folder):
    records = convert(folder, gzip.compress(b"# c\n+1 1:0.5 7:-2e-3\n-1 qid:4 3:1\n0\n"),
                      "--from", "libsvm")
    require(records == [b"1 1:0.5 7:-0.00200000009", b"-1 qid:4 3:1", b"0"], str(records))
    entries = parse_index(os.path.join(folder, "out"))
    require([e[2:] for e in entries] == [(0, 2), (4, 1), (2, 0)], str(entries))


def sentences(folder):
    text = b"The DT\ncat NN\n\nsat VBD\n\n"
    records = convert(folder, text, "--from", "conll")
    require(records == [b"The DT\ncat NN\n", b"sat VBD\n"], str(records))
    require([e[3] for e in parse_index(os.path.join(folder, "out"))] == [2, 1], "weights")
    run(folder, "convert", "--from", "records", "--in", "out", "--to", "text", "--out",
        "back")
    require(get(os.path.join(folder, "back")) == text, "not the same sentences")
    rest = b"\tf\tl\tN\t_\t_\t0\tr\t_\t_\n"
    text = b"# id\n1-2" + rest + b"1" + rest + b"2" + rest + b"2.1" + rest + b"\n"
    require(convert(folder, text, "--from", "conllu") == [text[:-1]], "CoNLL-U")


def images_there_and_back(folder):
    rng = random.Random(SEED)
    pixels, labels = rng.randbytes(5 * 3 * 4), bytes([3, 1, 4, 1, 5])
    images = struct.pack(">4I", 0x803, 5, 3, 4) + pixels
    put(os.path.join(folder, "labels"), struct.pack(">2I", 0x801, 5) + labels)
    records = convert(folder, images, "--from", "idx", "--labels", "labels")
    require(records[1] == struct.pack("<4I", 1, 3, 4, 1) + pixels[12:24], "second image")
    require([e[2] for e in parse_index(os.path.join(folder, "out"))] == list(labels),
            "keys are the labels")
    run(folder, "convert", "--from", "records", "--in", "out", "--to", "idx", "--out",
        "images2", "--labels", "labels2")
    require(get(os.path.join(folder, "images2")) == images, "idx images")
    require(get(os.path.join(folder, "labels2")) == get(os.path.join(folder, "labels")),
            "idx labels")
    cifar = b"".join(bytes([i]) + rng.randbytes(3072) for i in range(4))
    records = convert(folder, cifar, "--from", "cifar10")
    require(records[2][:16] == struct.pack("<4I", 3, 32, 32, 2), "CIFAR-10's head")
    run(folder, "convert", "--from", "records", "--in", "out", "--to", "cifar10", "--out",
        "cifar2")
    require(get(os.path.join(folder, "cifar2")) == cifar, "CIFAR-10")
    fails(folder, ["convert", "--from", "records", "--in", "out", "--to", "idx", "--out",
                   "x", "--labels", "y"], "record at offset 0", "more than one channel")
    require(not os.path.exists(os.path.join(folder, "x")), "a file is left")


def labels_too_large(folder):
    """Records hold labels up to 65535, other formats' are smaller."""
    def pack(label, *shape):
        return struct.pack("<4I", *shape, label) + bytes(math.prod(shape))
    words = ["convert", "--from", "records", "--in", "in", "--out", "x", "--to"]
    for to, most, told, shape in [
            (["idx", "--labels", "y"], 255, "idx, whose labels are bytes", (1, 3, 4)),
            (["cifar10"], 9, "CIFAR-10", (3, 32, 32))]:
        put(os.path.join(folder, "in"), frames([pack(0, *shape), pack(most, *shape)]))
        run(folder, *words, *to)
        shutil.copyfile(os.path.join(folder, "x"), os.path.join(folder, "kept"))
        put(os.path.join(folder, "in"), frames([pack(0, *shape), pack(most + 1, *shape)]))
        fails(folder, words + to, f"record at offset {32 + math.prod(shape)} ",
              f"has label {most + 1}, at most {most} in {told}")
        require(get(os.path.join(folder, "x")) == get(os.path.join(folder, "kept")),
                "what was there is lost")


def long_lines(folder):
    """--max-bytes is the limit of lines too, and the default is not below it."""
    put(os.path.join(folder, "lines"), b"x" * 17_000_000 + b"\ny\n")
    words = ["convert", "--from", "lines", "--in", "lines", "--out", "out", "--no-sync"]
    for limit in [[], ["--max-bytes", "100000000"], ["--max-bytes", "1000000000000"]]:
        _, err = run(folder, *words, *limit)
        require("out: 2 records" in err, err)
    fails(folder, words + ["--max-bytes", "1000"], "lines:1: ", "1000 bytes")
    _, err = run(folder, *words, "--max-bytes", "1000", "--on-error", "skip")
    require("1 left out" in err, err)
    put(os.path.join(folder, "t"), frames([b"x" * 1000]))
    fails(folder, ["verify", "--file", "t", "--max-bytes", "999"], "raise the limit")


CASES = [own_writer_their_reader, their_writer_own_reader, tables,
         lone_cells_and_weights, standard_input, rows_of_libsvm, sentences,
         images_there_and_back, labels_too_large, long_lines]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(CASES))
