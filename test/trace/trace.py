#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The timeline of DML_TRACE and the table of DML_SUMMARY tell what happened.

Usage: trace.py MPIEXEC NRANKS TEST_TRACE
"""

import collections
import json
import os
import re
import subprocess
import sys
import tempfile


FEW, MANY = 20, 5000  # all-reduces: a buffer holds 4096 events
LATE_US = 60000       # the last rank is late for the barrier


class Wrong(Exception):
    pass


def require(condition, text):
    if not condition:
        raise Wrong(text)


class Job:
    def __init__(self, mpiexec, nranks, program):
        self.start, self.nranks = [mpiexec, "-n", nranks], int(nranks)
        self.program = os.path.abspath(program)

    def run(self, many, **variables):
        """What a job printed."""
        command = [*self.start, "env", "DML_MEASURE=0",
                   *(f"{name}={value}" for name, value in variables.items()),
                   self.program, str(many)]
        done = subprocess.run(command, text=True, stdin=subprocess.DEVNULL, timeout=100,
                              capture_output=True)
        out = done.stdout + done.stderr
        require(done.returncode == 0,
                f"{' '.join(command)}: exit status {done.returncode}\n{out}")
        return out

    def trace(self, path, many, **variables):
        """What was printed, and the events."""
        out = self.run(many, DML_TRACE=path, **variables)
        with open(path, encoding="ascii") as file:
            text = file.read()
        require(text.startswith("[\n") and text.endswith(",\n"), "no array of lines")
        for line in text[2:].splitlines():
            json.loads(line.rstrip(","))
        return out, json.loads(text.rstrip(",\n") + "]")


def lanes_of(events):
    """The events of each rank and communicator."""
    lanes = collections.defaultdict(list)
    for event in events:
        if event["ph"] != "M":
            lanes[event["pid"], event["tid"]].append(event)
    return lanes


def check_nesting(where, events):
    """Complete events contain each other or follow each other."""
    open_until = []
    for event in sorted((e for e in events if e["ph"] == "X"),
                        key=lambda e: (e["ts"], -e["dur"])):
        begin, end = event["ts"], event["ts"] + event["dur"]
        require(event["dur"] >= 0, f"{where}: {event} ends before it begins")
        while open_until and open_until[-1] <= begin + 0.0015:  # times are rounded
            open_until.pop()
        require(not open_until or end <= open_until[-1] + 0.0015,
                f"{where}: {event} sticks out of the one around it")
        open_until.append(end)


def check_pairs(where, events):
    """Each asynchronous event begins once, then ends once."""
    begun = {}
    for event in events:
        if event["ph"] == "b":
            require(event["id"] not in begun, f"{where}: {event} begins twice")
            begun[event["id"]] = event["ts"]
        elif event["ph"] == "e":
            require(begun.pop(event["id"], float("inf")) <= event["ts"],
                    f"{where}: {event} ends before it begins")
    require(not begun, f"{where}: {sorted(begun)} have no end")


def check_bytes(where, events, sent, received):
    for name, wanted in (("sent", sent), ("received", received)):
        total = sum(event["args"].get(name, 0) for event in events)
        require(total == wanted, f"{where}: {total} bytes {name}, the library counted "
                f"{wanted}")


def operations(events):
    """Number -> (name, algorithm, bytes)."""
    found = {}
    for event in events:
        if event["ph"] in "Xe" and "number" in event["args"]:
            args = event["args"]
            require(args["number"] not in found, f"{event}: this number was there")
            found[args["number"]] = event["name"], args["algorithm"], args["bytes"]
    return found


def last_to_come(lanes):
    """The rank that came to the first communicator's barrier last, if clearly so: on a
    busy machine it need not be the one that slept."""
    began = sorted((event["ts"], rank) for (rank, lane), events in lanes.items()
                   for event in events if lane == 1 and event["name"] == "barrier")
    clear = len(began) > 1 and began[-1][0] - began[-2][0] > LATE_US / 3
    return began[-1][1] if clear else None


def timeline(job, folder, many=FEW, **variables):
    out, events = job.trace(os.path.join(folder, "trace.json"), many, **variables)
    lanes = lanes_of(events)
    stats = re.findall(r"^stats (\d+) (\d+) (\d+) (\d+)$", out, re.M)
    require(len(stats) == 2 * job.nranks == len(lanes), f"{len(lanes)} lanes:\n{out}")
    made = dict(re.findall(r"^made (\d+) (\d+)$", out, re.M))
    first = operations(lanes[0, 1])
    for rank, lane, sent, received in stats:
        where = f"rank {rank}, communicator {lane}"
        mine = lanes[int(rank), int(lane)]
        check_nesting(where, mine)
        check_pairs(where, mine)
        check_bytes(where, mine, int(sent), int(received))
        both = sum(len(operations(lanes[int(rank), k])) for k in (1, 2))
        require(both == int(made[rank]), f"{where}: {both} operations of {made[rank]}")
        if lane == "1":
            require(operations(mine) == first, f"{where}: not the operations of rank 0")
    return lanes


def plain(job, folder):
    lanes = timeline(job, folder, MANY)
    late = last_to_come(lanes)
    for (rank, lane), events in lanes.items():
        if lane != 1 or rank == late or late is None:
            continue
        around = next(e for e in events if e["name"] == "barrier")
        begin, end = around["ts"] - 1, around["ts"] + around["dur"] + 1
        waits = [e for e in events if e["name"] == "wait" and
                 begin <= e["ts"] and e["ts"] + e["dur"] <= end]
        require(waits and waits[-1]["args"]["for"] == late,
                f"rank {rank} waited in its barrier so: {waits}; rank {late} was late")


def channels(job, folder):
    """Messages instead of shared memory."""
    timeline(job, folder, DML_ALLREDUCE="ring", DML_BARRIER="dissemination")
    timeline(job, folder, DML_SHM="0")


def thread(job, folder):
    timeline(job, folder, DML_PROGRESS="thread")


def again(job, folder):
    """A second run begins anew."""
    path = os.path.join(folder, "trace.json")
    sizes = [len(operations(lanes_of(job.trace(path, FEW)[1])[0, 1])) for _ in range(2)]
    require(sizes[0] == sizes[1], f"{sizes} operations")


def summary(job, folder):
    path = os.path.join(folder, "trace.json")
    out, events = job.trace(path, 1234, DML_SUMMARY="1")
    late = last_to_come(lanes_of(events))
    tables = re.split(r"^dml: summary: ", out, flags=re.M)[1:]
    require(len(tables) == 1 + min(job.nranks, 2), f"{len(tables)} tables:\n{out}")
    world = next(t for t in tables if f"of {job.nranks} rank" in t and "1237" in t)
    rows = re.findall(r"^dml: (\w+) +(\w+) +(\d+) +([\d.]+ \w+) +([\d.]+) +([\d.]+)  (.+)$",
                      world, re.M)
    calls = collections.Counter()
    for name, _, count, _, seconds, waiting, whom in rows:
        calls[name] += int(count)
        require(float(waiting) <= float(seconds) + 1e-3, f"{name}: more waiting than time")
        if name == "barrier" and late is not None:
            require(re.match(rf"rank {late} \(", whom), f"barrier for {whom}, not {late}")
    require(calls == {"allreduce": 1237, "bcast": 1, "allgather": 1, "barrier": 1},
            f"{calls}\n{out}")
    require("summary" not in job.run(FEW), "a table that nobody asked for")


def no_room(job, folder):
    """One line, and the work is done."""
    pipe = os.path.join(folder, "pipe")  # that nobody reads
    os.mkfifo(pipe)
    for path in ("/dev/full", os.path.join(folder, "none/trace.json"), pipe):
        out = job.run(FEW, DML_TRACE=path)
        lines = re.findall(r"^dml: trace: .*$", out, re.M)
        require(len(lines) == 1 and path in lines[0], f"{path}:\n{out}")


def main():
    job = Job(*sys.argv[1:])
    passed = failed = 0
    for case in (plain, channels, thread, again, summary, no_room):
        with tempfile.TemporaryDirectory() as folder:
            try:
                case(job, folder)
                passed += 1
            except (Wrong, subprocess.TimeoutExpired, ValueError) as fault:
                failed += 1
                print(f"FAIL {case.__name__}: {fault}"[:3000])
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
