#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the fuzzers' first inputs: small good and bad files of every format.

They are kept in corpus/, one folder a fuzzer, beside inputs that once were findings.
Usage: seeds.py FOLDER
"""

import gzip
import os
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(data):
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def index(entries, file_bytes):
    body = b"".join(struct.pack("<QQQd", *entry) for entry in entries)
    head = b"DMLINDEX" + struct.pack("<IIQQqIIIQ", 1, 64, len(entries), file_bytes, 0, 0,
                                     32, crc32c(body), 0)
    return head + struct.pack("<I", crc32c(head)) + body


def packed(data):
    return gzip.compress(data, mtime=0)


RECORDS = frame(b"hello") + frame(b"") + frame(bytes(range(200)))
CSV = b'a,b,"c ""d"""\r\n1,2.5,x\n,-3e-7,"y\nz"\nNA,1e400,"w"\n'
SVM = b"# rows\n+1 1:0.5 3:-2e-3\n-1 qid:2 1:1 # end\n0\n"
CONLL = b"The DT B-NP\ncat NN I-NP\n\nsat VBD B-VP\n"
REST = b"\tf\tl\tN\t_\t_\t0\tr\t_\t_\n"
CONLLU = (b"# id = 1\n1-2" + REST + b"1" + REST + b"2" + REST + b"2.1" + REST + b"\n1" +
          REST)
LABELS = struct.pack(">II", 0x801, 2) + b"\0\1"
IMAGES = struct.pack(">IIII", 0x803, 2, 2, 2) + bytes(range(8))
CIFAR = (b"\3" + bytes(3072)) * 2

TEMPLATE = b"U1:%x[0,0]/%l[-1,1]\nU2:%p[0,0,2]%s[1,0,1]%h[0,0]\n!ends\nB\n"

def summed(name, *numbers_and_bytes):
    """Numbers as 8 bytes each, bytes as they are; the checksum is left to the fuzzer."""
    data = name
    for part in numbers_and_bytes:
        data += part if isinstance(part, bytes) else struct.pack(
            "<d" if isinstance(part, float) else "<Q", part)
    return data + bytes(8)


EXACT = (1 << 64) - 1
# kind, hash seed, records, samples, weight, unseen, buckets, entries, bytes of strings
HISTOGRAM = summed(b"dmlhist1", 0, 3, 14, 14, 14.0, 0.5, 2, 3, 0, 10.0, 4.0, b"\2\1",
                   1, 9.0, 0.0, EXACT, 5, 0.0, 2.0, 0, 9, 2.0, 0.5, 8)
STRINGS = summed(b"dmlhist1", 1, 3, 9, 9, 9.0, 0.0, 1, 3, 21, 9.0, b"\2",
                 1, 5.0, 0.0, 40, 17, 3.0, 0.0, 20, 3, 1.0, 0.0, 2,
                 b"aa key of the tailkey")
# kind, counters, counted again, weight, slack, keys, bytes of strings
SKETCH = summed(b"dmlskch1", 0, 4, 0, 12.0, 1.0, 3, 0, 5, 6.0, 1, 3.0, 9, 2.0)
WORDS = summed(b"dmlskch1", 1, 2, 1, 9.0, 0.0, 2, 4, 1, 5.0, 3, 4.0, b"akey")
HALVES = (0.5, 4.0, 0.5, 5.0)
# planner, kind, parts, hash seed, weight, bounds, homes, keys, pieces, bytes of strings
BY_HASH = summed(b"dmlplan1", 2, 0, 2, 3, 9.0, 0, 4, 2, 3, 0, *HALVES,
                 b"\0\0\0\0\1\0\1\0", 1, 1 << 32, 5, 2 << 32 | 1, 1, 1.0, 0, 0.25,
                 1, 1.0)
BY_RANGE = summed(b"dmlplan1", 5, 1, 2, 3, 9.0, 1, 0, 0, 0, 3, *HALVES, 3, 0.25, b"key")



def shard(rank, sections, ranks=2):
    """doc/checkpoints.md; sections: (name, kind, type, first, total, bytes of each, data)"""
    table = b""
    for name, kind, dtype, first, total, each, data in sections:
        table += struct.pack("<IIIIQQQ", len(name), kind, dtype, crc32c(data), first,
                             len(data) // each, total) + name
    data = b"".join(section[6] for section in sections)
    head = b"DMLSHARD" + struct.pack("<IIIIQQQQQ", 1, rank, ranks, len(sections), 77, 5,
                                     len(table), 64 + len(table) + 4 + len(data), 0)
    return head + table + struct.pack("<I", crc32c(head + table)) + data


def manifest(ranks, entries):
    head = b"DMLSNAPS" + struct.pack("<IIQQQQ16x", 1, ranks, 77, 5, 1, 1795000000)
    data = head + b"".join(struct.pack("<QII", size, crc, 0) for size, crc in entries)
    return data + struct.pack("<I", crc32c(data))


def pair(choice, first, second):
    return bytes([choice, len(first) >> 8, len(first) & 255]) + first + second


FIRST = shard(0, [(b"options", 1, 5, 0, 3, 1, b"a=b"), (b"rng", 2, 5, 0, 2, 1, b"xy"),
                  (b"w", 3, 0, 0, 3, 4, b"0123"), (b"w", 3, 0, 1, 3, 4, b"4567")])
SECOND = shard(1, [(b"rng", 2, 5, 0, 1, 1, b"z"), (b"w", 3, 0, 2, 3, 4, b"89ab")])
GAP = shard(1, [(b"w", 3, 0, 1, 3, 4, b"89ab"), (b"v", 3, 1, 0, 9, 8, b"")])
MANIFEST = manifest(2, [(len(FIRST), 1), (len(SECOND), 2)])

RUN = b'app="dml-cnn",run="n1-7"'


def ranks_of(name, *values):
    return b"# TYPE dml_" + name + b" gauge\n" + b"".join(
        b'dml_%s{%s,rank="%d",host="n1"} %s\n' % (name, RUN, rank, value)
        for rank, value in enumerate(values))


METRICS = (b"# HELP dml_metrics_timestamp_seconds When.\n"
           b"dml_metrics_timestamp_seconds{" + RUN + b',writer="0"} 1e9\n'
           b"dml_run_state{" + RUN + b',state="running"} 1\ndml_loss{' + RUN + b"} NaN\n" +
           ranks_of(b"steps_total", b"12", b"+Inf") + ranks_of(b"sent_bytes_total", b"9") +
           ranks_of(b"operation_number", b"5", b"4") +
           ranks_of(b"waiting_seconds", b"2.5", b"0") +
           ranks_of(b"waiting_operation_number", b"5") +
           b"dml_operation_info{" + RUN + b',rank="1",operation="all\\"re\\\\du\\nce"} 1\n')
STOPPED = METRICS + ranks_of(b"process_stopped", b"0", b"1") + ranks_of(
    b"waiting_peer_rank", b"1", b"1")

# Records of one image: u32 channels, height, width, label, then its bytes.
IMAGE = struct.pack("<4I", 1, 2, 2, 3) + b"abcd"
IMAGE_RECORD = struct.pack(">H", len(IMAGE)) + IMAGE


def text(word):
    return struct.pack("<I", len(word)) + word


# doc of the format: apps/cnn/model.c
CNN_MODEL = b"DMLCNN\r\n" + struct.pack("<I", 1) + text(b"small") + struct.pack(
    "<4I2fI", 1, 12, 12, 4, 0.5, 0.25, 1) + text(b"conv1.weight") + struct.pack(
        "<3I2fI", 2, 1, 2, 0.5, 0.25, 0) + b"sum!"


# The sections of apps/crf/lbfgs_snapshot.c one behind another, of 6 features: counters
# (memory, kept, oldest, iteration, evaluations), value, gradient, norm, step, gg, 64 past
# values, gs, gy, then ss, sy and yy row by row, point, gradient, s and y of each pair.
def lbfgs(memory, kept, oldest, iteration, value=36.3):
    rows = [1.0 if i // (3 * memory) == i % memory else 0.25 for i in range(3 * memory**2)]
    return struct.pack(
        f"<{10 + 64 + 2 * memory + len(rows) + 12 + 12 * memory}d", memory, kept, oldest,
        iteration, iteration + 2, value, 12.5, 2.5, 1, 156.25, *[40.0] * 64,
        *[0.5] * (2 * memory), *rows, *[-1.2, 1] * 3, *[-215.6, -88.0] * 3,
        *[0.125, -0.25] * (6 * memory))


# Changes of a snapshot, see going_on.h: one of each kind, of one section.
def changes(section):
    nan = struct.pack("<d", float("nan"))
    return {"bytes": bytes([section, 3]) + b"\1\0\0\xff\xff\xff\xff",
            "double": bytes([1 << 5 | section]) + b"\0\0" + nan,
            "word": bytes([1 << 5 | section]) + b"\1\0" + b"\xff" * 8,
            "float": bytes([2 << 5 | section]) + b"\2\0\0\0\x80\x7f",
            "fill": bytes([3 << 5 | section]) + nan,
            "count": bytes([4 << 5 | section]) + b"\3\0\0",
            "kind": bytes([5 << 5 | section]) + b"\6",
            "gone": bytes([6 << 5 | section]),
            "ranks": bytes([7 << 5]) + b"\1\5\0\0\0\0\0\0\0"}


# The first sections are the options, then the curve where there is one.
def states(nvariants, sections):
    inputs = {f"good{v}": bytes([v]) for v in range(nvariants)}
    inputs["many"] = b"\0" + b"".join(changes(30)[name] for name in (
        "bytes", "double", "float", "word", "bytes", "float", "ranks"))
    for section in sections:
        for name, data in changes(section).items():
            inputs[f"{name}{section}"] = bytes([section % nvariants]) + data
    return inputs


SEEDS = {
    "cnn_state": states(5, [2]),
    "crf_state": states(5, [2, 3, 4]),
    "prf_state": states(4, [1, 2, 3, 4]),
    "crf_lbfgs": {"good": b"\1" + lbfgs(3, 2, 1, 7), "first": b"\0" + lbfgs(1, 0, 0, 1),
                  "l1": b"\7" + lbfgs(3, 3, 2, 12), "end": b"\2" + lbfgs(1, 1, 0, 40),
                  "kept": b"\1" + lbfgs(3, 4, 0, 7), "nan": b"\3" + lbfgs(
                      3, 2, 0, 7, float("nan")), "oldest": b"\1" + lbfgs(3, 1, -1, 7),
                  "endless": b"\3" + lbfgs(3, 1, 0, 1e300), "cut": b"\1" + lbfgs(
                      3, 2, 1, 7)[:-8]},
    "metrics": {"one": b"\0" + METRICS, "two": b"\1" + METRICS + STOPPED,
                "later": b"\2" + METRICS + STOPPED, "small": b"\4" + STOPPED,
                "others": b"\0node_load1 0.5 1795300000\na:b{c=\"d\",} -1e-3\n# x\n\n",
                "rank": b'\0dml_loss{rank="131072"} 1\n', "cut": b"\0" + METRICS[:-1],
                "name": b"\0" + METRICS.replace(b"n1-7", b"\x1b[2J")},
    "manifest": {"good": b"\0" + MANIFEST, "mended": b"\1" + MANIFEST,
                 "ranks": b"\1" + manifest(1 << 31, []), "cut": b"\0" + MANIFEST[:-9]},
    "snapshot": {"good": pair(0, FIRST, SECOND), "mended": pair(1, FIRST, SECOND),
                 "gap": pair(1, FIRST, GAP), "cut": pair(1, FIRST, SECOND[:-2]),
                 "ranks": pair(1, FIRST, shard(1, [], ranks=3))},
    "crf_text": {
        "columns": b"\0" + TEMPLATE + b"\0" + CONLL,
        "conllu": b"\1" + TEMPLATE + b"!outside skip\n\0" + CONLLU,
        "items": b"\2\0X\ta:1.5\tb\\:c\nY\n\nX\ta\n",
        "hashed": b"\4" + TEMPLATE + b"\0" + CONLL,
        "wrong": b"\0U1:%x[0,9]\nU%q\n\0a b\n",
    },
    "crf_model": {
        "good": b"",
        "version": b"\x08\0\2",
        "labels": b"\x20\0\xff\x21\0\xff",
        "rows": b"\x80\1\7\x81\1\7",
        "slot": b"HF" + b"\xff" * 23 + b"2%",
    },
    "records": {
        "good": b"\0" + RECORDS,
        "gzip": b"\0" + packed(RECORDS),
        "unchecked": b"\1" + RECORDS,
        "short-limit": b"\2" + RECORDS,
        "damaged": b"\0" + RECORDS[:3] + b"x" + RECORDS[4:],
        "cut": b"\0" + RECORDS[:-3],
    },
    "index": {
        "good": b"\0" + index([(0, 0, 1, 1.0), (16, 0, 2, 0.5)], 32),
        "mended": b"\1" + index([(0, 0, 1, 1.0), (16, 0, 2, 0.5)], 32),
        "beyond": b"\1" + index([(0, 1 << 40, 1, 1.0)], 32),
    },
    "csv": {
        "good": b"\0" + CSV,
        "gzip": b"\0" + packed(CSV),
        "skip": b"\x40" + CSV + b"1,2\n\"open",
        "short-lines": b"\xc4" + CSV + b"x" * 100,
        "tabs": b"\1a\tb\n1\t2\n",
        "no-quotes": b"\x20\"a,b\n",
        "zero": b"\0a,b\n1,\0\n",
    },
    "lines": {
        "plain": b"\0one\ntwo\r\n\nthree",
        "gzip": b"\0" + packed(b"one\ntwo\n" * 20),
        "gzip-cut": b"\0" + packed(b"one\ntwo\n" * 20)[:-6],
        "long": b"\1" + b"y" * 100 + b"\nz\n",
        "mark": b"\0\xef\xbb\xbfa\n",
    },
    "libsvm": {"good": b"\0" + SVM, "skip": b"\1" + SVM + b"1 2:1 1:1\nx\n1 1:1"},
    "conll": {
        "columns": b"\0" + CONLL,
        "tabs": b"\1" + CONLL.replace(b" ", b"\t"),
        "conllu": b"\2" + CONLLU,
        "nodes": b"\5" + CONLLU,
        "skip": b"\x08" + CONLL + b"\nragged\n",
        "limits": b"\x38" + CONLL + b"\n" + b"w x y\n" * 5,
    },
    "idx": {"good": bytes([len(LABELS)]) + LABELS + IMAGES,
            "gzip": bytes([len(packed(LABELS))]) + packed(LABELS) + packed(IMAGES)},
    "cifar10": {"gzip": packed(CIFAR), "cut": packed(CIFAR[:-9]),
                "label": packed(b"\x0b" + CIFAR[1:]), "empty": b""},
    "histogram": {"u64": b"\1" + HISTOGRAM, "bytes": b"\x13" + STRINGS,
                  "unsummed": b"\0" + HISTOGRAM, "cut": b"\1" + HISTOGRAM[:-32]},
    "sketch": {"u64": b"\1" + SKETCH, "bytes": b"\1" + WORDS, "cut": b"\1" + WORDS[:-1]},
    "plan": {"hash": b"\1" + BY_HASH, "range": b"\1" + BY_RANGE,
             "cut": b"\1" + BY_HASH[:-16]},
    "tuning": {"good": b"allreduce 2-8 1 64K- ring # a comment\nbcast * 2- 0-1M auto\n",
               "wrong": b"allreduce 8-2 * * ring\n", "long": b"barrier 1 1 1 1 1\n"},
    "images_records": {
        "good": IMAGE_RECORD + IMAGE_RECORD,
        "another": IMAGE_RECORD + b"\0\x04abcd",
    },
    "cnn_model": {"good": b"\1" + CNN_MODEL, "cut": b"\1" + CNN_MODEL[:-9]},
    "prf_rows": {
        "table": b"\0a,b,c\n1,red,x\n2,,y\n,blue,x\n",
        "weights": b"\4c,w,a\nx,1,2\ny,2.5,\n",
        "categories": b"\x09a\tb\tc\n1\t2\t3\n",
        "libsvm": b"\1" + SVM,
        "wide": b"\1" + b"1 99999999:1\n",
    },
    "skew_keys": {
        "table": b"\0a,b\nx,1\ny,2\n", "words": b"\1the cat the dog\n",
        "corpus": b"\2" + CONLL, "number": b"\x0cx,1e300\ny,-2\n",
        "weight": b"\3a,w\nx,1\ny,0.5\n", "negative": b"\3a,w\nx,-1\n",
    },
    "options": {"good": b"--net vgg  # a comment\n--lr\t0.1\r\n--quiet\n",
                "nested": b"--options other\n", "zero": b"--a \0 b"},
}


def main():
    for target, inputs in SEEDS.items():
        folder = os.path.join(sys.argv[1], target)
        os.makedirs(folder, exist_ok=True)
        for name, data in inputs.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
