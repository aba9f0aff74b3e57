#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dml-records and what is not as it should be: damaged files, names that would be
overwritten, signals, full disks.

Usage: records_faults.py PROGRAM [PART OF A CASE'S NAME]
"""

import gzip
import os
import signal
import stat
import struct
import subprocess
import sys
import time

from jobs import get, put, require
from record_files import crc32c, fails, frames, main, parse, parse_index, Program, run



def two_files_or_none(folder):
    """idx has its labels in a file of their own: where it cannot be had, no images."""
    def at(name):
        return os.path.join(folder, name)
    put(at("t"), frames([struct.pack("<4I", 1, 1, 2, 3) + b"ab"]))
    words = ["convert", "--from", "records", "--in", "t", "--to", "idx", "--out", "x",
             "--labels"]
    os.mkdir(at("y"))
    fails(folder, words + ["y"], "y: cannot create it: Is a directory")
    require(sorted(os.listdir(folder)) == ["t", "y"], f"left: {os.listdir(folder)}")
    put(at("x"), b"old")
    fails(folder, words + ["nowhere/y"], "nowhere/y: cannot create it")
    require(get(at("x")) == b"old", "the old images are lost")
    run(folder, *words, "x", status=64)
    put(at("t"), frames([struct.pack("<4I", 1, 1, 20000, 3) + bytes(20000)] * 3))
    _, err = run(folder, *words, "z", "--no-sync", status=1, limit=50000)
    require("x: cannot write: File too large; check the folder" in err, err)
    require(sorted(os.listdir(folder)) == ["t", "x", "y"] and get(at("x")) == b"old",
            f"left: {os.listdir(folder)}")


def inputs_are_kept(folder):
    """Names that lead to what is read, or to another file's index, are refused."""
    def at(name):
        return os.path.join(folder, name)
    put(at("t"), frames([b"a", b"b"]))
    run(folder, "index", "--file", "t")
    put(at("lines"), b"one\ntwo\n")
    put(at("new.index"), b"three\n")
    os.link(at("lines"), at("hard"))
    os.symlink("lines", at("soft"))
    before = {name: get(at(name)) for name in os.listdir(folder)}
    back = ["--from", "records", "--to", "text", "--in", "t", "--out"]
    idx = ["--from", "records", "--to", "idx", "--in", "t", "--out", "x", "--labels"]
    for words in [["--from", "lines", "--in", "lines", "--out", "lines"],
                  ["--from", "lines", "--in", "lines", "--out", "hard"],
                  ["--from", "lines", "--in", "lines", "--out", "soft"],
                  ["--from", "lines", "--in", "lines", "--out", "t.index"],
                  ["--from", "lines", "--in", "new.index", "--out", "new"],
                  ["--from", "idx", "--in", "t", "--labels", "lines", "--out", "soft"],
                  back + ["t"], back + ["t.index"], back + ["./t"], idx + ["t"],
                  idx + ["t.index"]]:
        fails(folder, ["convert", *words], "--", status=64)
    with open(at("lines"), "rb") as file:
        done = subprocess.run([Program.path, "convert", "--from", "lines", "--in", "-", "--out",
                               "lines"], cwd=folder, stdin=file, timeout=60,
                              stderr=subprocess.PIPE, check=False)
    require(done.returncode == 64 and b"same file" in done.stderr, str(done))
    require({name: get(at(name)) for name in os.listdir(folder)} == before, "changed")


def names_that_are_no_files(folder):
    """Devices, pipes and links stay what they are; folders are refused at once."""
    def at(name):
        return os.path.join(folder, name)
    put(at("t"), frames([b"a", b"b"]))
    put(at("lines"), b"a\nb\n")
    text = ["convert", "--from", "records", "--to", "text", "--in", "t", "--out"]
    records = ["convert", "--from", "lines", "--in", "lines", "--out"]
    os.mkfifo(at("pipe"))
    fails(folder, text + ["pipe"], "pipe: cannot create it")
    reader = os.open(at("pipe"), os.O_RDONLY | os.O_NONBLOCK)
    run(folder, *text, "pipe")
    require(os.read(reader, 100) == b"a\nb\n", "nothing in the pipe")
    os.close(reader)
    fails(folder, records + ["pipe"], "pipe: cannot create it: a device or a pipe")
    require(stat.S_ISFIFO(os.stat(at("pipe")).st_mode), "the pipe is gone")
    put(at("old"), b"old")
    os.symlink("old", at("link"))
    for words, whole in [(text, b"a\nb\n"), (records, get(at("t")))]:
        run(folder, *words, "link")
        require(os.path.islink(at("link")) and get(at("old")) == whole, "link")
    os.symlink("nowhere", at("broken"))
    os.mkdir(at("folder"))
    for words in [text, records]:
        fails(folder, words + ["broken"], "broken: cannot follow the link")
        fails(folder, words + ["folder"], "folder: cannot create it")
    require(not [n for n in os.listdir(folder) if "partial" in n], "partial files")


def two_runs_to_one_name(folder):
    """The second one has a partial file of its own, and does not touch the first's."""
    words = [Program.path, "convert", "--from", "lines", "--in", "-", "--out", "out"]
    runs = [subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE,
                             stderr=subprocess.PIPE) for _ in range(2)]
    deadline = time.monotonic() + 30
    while len(os.listdir(folder)) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    require(len(os.listdir(folder)) == 4, f"partial files: {os.listdir(folder)}")
    for process, text in zip(runs, [b"first\n" * 5, b"second\n"]):
        process.communicate(text, timeout=60)
        require(process.returncode == 0, "a run failed")
        require([r for _, r in parse(get(os.path.join(folder, "out")))] ==
                text.split(), "other records")
    parse_index(os.path.join(folder, "out"))
    require(sorted(os.listdir(folder)) == ["out", "out.index"], str(os.listdir(folder)))


def a_signal_leaves_nothing(folder):
    words = [Program.path, "convert", "--from", "lines", "--in", "-", "--out", "out"]
    for number in [signal.SIGINT, signal.SIGTERM]:
        with subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 30
            while len(os.listdir(folder)) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            require(len(os.listdir(folder)) == 2, "no partial files")
            process.send_signal(number)
            _, err = process.communicate(b"line\n" * 100000, timeout=60)
            require(process.returncode == 1 and b"stopped by a signal" in err, str(err))
        require(os.listdir(folder) == [], f"left: {os.listdir(folder)}")


def unusable_index(folder):
    put(os.path.join(folder, "t"), frames([b"a"]))
    run(folder, "verify", "--file", "t")
    os.mkdir(os.path.join(folder, "t.index"))
    out, _ = run(folder, "verify", "--file", "t", status=1)
    require(b"it is a directory" in out and b"t: bad" in out, str(out))


def an_index_that_lies(folder):
    """Its own checksums are right, and so are length and time of the file."""
    path = os.path.join(folder, "t")
    put(path, frames([b"a" * 100, b"b" * 50, b"c"]))
    run(folder, "index", "--file", "t")
    good = get(path + ".index")
    def remake(change):
        data = bytearray(good)
        change(data)
        struct.pack_into("<I", data, 48, crc32c(bytes(data[64:])))
        struct.pack_into("<I", data, 60, crc32c(bytes(data[:60])))
        put(path + ".index", bytes(data))
    for change, told in [
            (lambda d: struct.pack_into("<Q", d, 64 + 8, 99), b"number 0 lies elsewhere"),
            (lambda d: struct.pack_into("<QQ", d, 96, 117, 49), b"number 1 lies"),
            (lambda d: struct.pack_into("<I", d, 40, 12345), b"checksum of the file's"),
            (lambda d: None, b"index: 3 records\n")]:
        remake(change)
        bad = b"index: 3 records\n" != told
        out, _ = run(folder, "verify", "--file", "t", status=int(bad))
        require(told in out and (b"t: bad" if bad else b"t: good") in out, str(out))
        require(not bad or b"make it anew" in out, str(out))
        out, _ = run(folder, "inspect", "--file", "t")
        require(told in out, str(out))


def full_standard_output(folder):
    put(os.path.join(folder, "t"), frames([b"a"]))
    for words in [["inspect", "--file", "t"], ["verify", "--file", "t"], ["--help"],
                  ["inspect", "--help"],
                  ["convert", "--from", "records", "--in", "t", "--to", "text", "--out",
                   "-"]]:
        with open("/dev/full", "wb") as full:
            done = subprocess.run([Program.path, *words], cwd=folder, stdout=full, timeout=60,
                                  stderr=subprocess.PIPE, check=False)
        require(done.returncode == 1 and done.stderr.count(b"\n") == 1 and
                b"standard output: cannot write: No space left" in done.stderr,
                f"{words}: {done.returncode} {done.stderr}")


def closed_standard_error(folder):
    """Its number does not go to the file that is written, and messages with it."""
    put(os.path.join(folder, "t.csv"), b"a,b\n1,2\n3\n4,5\n")
    done = subprocess.run([Program.path, "convert", "--in", "t.csv", "--out", "out",
                           "--on-error", "skip"], cwd=folder, timeout=60, check=False,
                          preexec_fn=lambda: os.close(2))
    require(done.returncode == 0, f"status {done.returncode}")
    require([r for _, r in parse(get(os.path.join(folder, "out")))] == [b"1,2", b"4,5"],
            "other records")
    parse_index(os.path.join(folder, "out"))


def damage(folder):
    records = [b"first", b"second" * 50, b"", b"fourth"]
    good = frames(records)
    put(os.path.join(folder, "t"), good)
    run(folder, "index", "--file", "t")
    put(os.path.join(folder, "t"), good[:40] + b"\xff" + good[41:])
    fails(folder, ["inspect", "--file", "t", "--on-error", "fail"],
          "t: record at offset 21: wrong checksum of its 300 bytes")
    out, _ = run(folder, "verify", "--file", "t", "--on-error", "skip", status=1)
    require(b"t: bad: 3 records, 1 damaged places" in out, str(out))
    put(os.path.join(folder, "t"), good[:-3])
    fails(folder, ["convert", "--from", "records", "--in", "t", "--to", "text", "--out",
                   "x"], "offset 353: cut short")
    out, err = run(folder, "convert", "--from", "records", "--in", "t", "--to", "text",
                   "--out", "x", "--on-error", "skip")
    require("1 left out" in err, err)
    require(get(os.path.join(folder, "x")).startswith(b"first\nsecond"), "what is left")
    out, _ = run(folder, "inspect", "--file", "t")
    require(b"stale: the record file has another length" in out, str(out))
    put(os.path.join(folder, "t"), good)
    fails(folder, ["inspect", "--file", "t", "--max-bytes", "100", "--on-error", "fail"],
          "record at offset 21: 300 bytes, at most 100 expected")
    put(os.path.join(folder, "t"), good[:-4] + b"abcd")
    fails(folder, ["index", "--file", "t"], "offset 353", "wrong checksum")


def bad_rows(folder):
    put(os.path.join(folder, "t.csv"), b"a,b\n1,2\n3\n4,5\n\"6\n")
    words = ["convert", "--in", "t.csv", "--out", "out"]
    fails(folder, words, "t.csv:3: 1 cells found, 2 expected")
    require(sorted(os.listdir(folder)) == ["t.csv"], "files are left")
    _, err = run(folder, *words, "--on-error", "skip")
    require("2 left out" in err and "out: 2 records" in err, err)
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 50000)
    put(os.path.join(folder, "t.csv"), whole[:-9])
    fails(folder, words, "cut short: its gzip stream ends")
    put(os.path.join(folder, "t.csv"), b"a,b\n1,-1\n")
    fails(folder, words + ["--weight", "b"], "row 1", "\"-1\"")
    put(os.path.join(folder, "t.csv"), b"a,b\n1,-1\n2,\n3,4\n5,6,7\n8,9\n")
    _, err = run(folder, *words, "--weight", "b", "--on-error", "skip")
    require("3 left out" in err and "out: 2 records" in err, err)
    require([(e[1], e[3]) for e in parse_index(os.path.join(folder, "out"))] ==
            [(3, 4), (3, 9)], "what is left")
    put(os.path.join(folder, "t.csv"), b"a,b\n1,-1\n")
    fails(folder, words + ["--key", "c"], "no column \"c\"; it has 2", "a, b")


def full_disk(folder):
    put(os.path.join(folder, "t.csv"), b"1,2\n" * 20000)
    _, err = run(folder, "convert", "--in", "t.csv", "--out", "out", status=1, limit=50000)
    require("out: cannot write after" in err, err)
    require(os.listdir(folder) == ["t.csv"], f"left: {os.listdir(folder)}")


def usage(folder):
    for words in [[], ["nonsense"], ["convert"], ["inspect"], ["verify", "--fle", "x"],
                  ["convert", "--in", "a", "--out", "b", "--to", "text"],
                  ["convert", "--in", "a", "--out", "-"],
                  ["convert", "--in", "a", "--out", "b", "--delimiter", ",;"],
                  ["convert", "--in", "a", "--out", "b", "--from", "idx"],
                  ["convert", "--in", "a", "--out", "b", "--from", "lines", "--key", "x"]]:
        _, err = run(folder, *words, status=64)
        require("dml-records" in err, err)
    for words in [["--help"], ["convert", "--help"], ["inspect", "--help"],
                  ["index", "--help"], ["verify", "--help"]]:
        out, _ = run(folder, *words)
        require(b"dml-records" in out, str(out))
    fails(folder, ["inspect", "--file", "absent"], "absent: cannot open")
    fails(folder, ["convert", "--in", "absent", "--out", "x"], "absent: cannot open")
    require(os.listdir(folder) == [], "files are left")


CASES = [two_files_or_none, inputs_are_kept, names_that_are_no_files,
         two_runs_to_one_name, a_signal_leaves_nothing, unusable_index,
         an_index_that_lies, full_standard_output, closed_standard_error, damage, bad_rows,
         full_disk, usage]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(CASES))
