# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of dml-records share: TFRecord frames and the index, read and written
from their description alone, and runs of the program."""

import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile

from jobs import Wrong, get, put, require


class Program:
    """dml-records: the first argument of the script."""
    path = ""


# ---- TFRecord frames and the index, from their description alone -------------------------

def make_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = make_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frames(records):
    out = b""
    for data in records:
        length = struct.pack("<Q", len(data))
        out += length + struct.pack("<I", masked(length))
        out += data + struct.pack("<I", masked(data))
    return out


def parse(data):
    at, records = 0, []
    while at < len(data):
        size, = struct.unpack_from("<Q", data, at)
        require(struct.unpack_from("<I", data, at + 8)[0] == masked(data[at:at + 8]),
                "wrong checksum of a length")
        record = data[at + 12:at + 12 + size]
        require(struct.unpack_from("<I", data, at + 12 + size)[0] == masked(record),
                "wrong checksum of a record")
        records.append((at, record))
        at += 16 + size
    return records


def parse_index(path):
    """[(offset, bytes, key, weight)], and that it belongs to the file."""
    data, file = get(path + ".index"), get(path)
    info = os.stat(path)
    magic, version, head, count, size, mtime, digest, entry, crc, zero, own = \
        struct.unpack_from("<8sIIQQqIIIQI", data)
    require((magic, version, head, entry, zero) == (b"DMLINDEX", 1, 64, 32, 0), "head")
    require(own == crc32c(data[:60]), "checksum of the head")
    require(crc == crc32c(data[64:]), "checksum of the entries")
    require((size, mtime) == (len(file), info.st_mtime_ns), "length and time of the file")
    records = parse(file)
    summed = b"".join(file[at:at + 12] + file[at + 12 + len(r):at + 16 + len(r)]
                      for at, r in records)
    require(digest == crc32c(summed), "digest of the frames")
    require(count == len(records) == (len(data) - 64) // 32, "number of entries")
    entries = [struct.unpack_from("<QQQd", data, 64 + 32 * i) for i in range(count)]
    require([e[:2] for e in entries] == [(at, len(r)) for at, r in records], "offsets")
    return entries


# ---- running ----------------------------------------------------------------------------


def run(folder, *words, status=0, stdin=b"", limit=None):
    def set_limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    done = subprocess.run([Program.path, *words], cwd=folder, input=stdin, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          preexec_fn=set_limit if limit is not None else None)
    require(done.returncode == status,
            f"{words}: exit status {done.returncode}, {status} expected: {done.stderr}")
    return done.stdout, done.stderr.decode()


def fails(folder, words, *told, status=1):
    _, err = run(folder, *words, status=status)
    lines = err.splitlines()
    require(len(lines) == 1, f"{words}: not one line: {err}")
    for part in told:
        require(part in err, f"{words}: \"{part}\" is not in: {err}")


def convert(folder, data, *words, name="in", out="out"):
    put(os.path.join(folder, name), data)
    run(folder, "convert", "--in", name, "--out", out, *words)
    return [record for _, record in parse(get(os.path.join(folder, out)))]


def main(cases):
    Program.path = os.path.abspath(sys.argv[1])
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    passed = failed = 0
    for case in cases:
        if wanted not in case.__name__:
            continue
        with tempfile.TemporaryDirectory(prefix="dml-records-") as folder:
            try:
                case(folder)
                passed += 1
                print("ok", case.__name__)
            except (Wrong, subprocess.TimeoutExpired) as error:
                failed += 1
                print("FAILED", case.__name__, error)
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0
