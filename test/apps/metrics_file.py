# SPDX-License-Identifier: BSD-3-Clause
"""What a job tells of itself, read back: files of metrics, by a parser that is as strict
as promtool's, the events of a log, and what dml-top shows."""

import json
import math
import os
import re
import subprocess

from jobs import Job, LIMIT_S, require

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|NaN|[+-]Inf")
STATES = {"running", "finished", "stopped", "failed"}


# ---- the format ------------------------------------------------------------------------

def labels_of(text):
    labels, at = {}, 0
    while text and at < len(text):
        match = LABEL.match(text, at)
        require(match, f"no label: {text[at:]!r}")
        require(match[1] not in labels, f"label {match[1]} twice")
        labels[match[1]] = match[2]
        at = match.end()
        require(at == len(text) or text[at] == ",", f"no comma: {text!r}")
        at += at < len(text)
    return labels


def parse(text):
    """{(name, labels as sorted pairs): value}; Wrong where promtool would complain."""
    require(text.endswith("\n"), "the file is cut: no newline at its end")
    samples, types, helps, closed, current = {}, {}, set(), set(), None
    for line in text.splitlines():
        match = re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.*)", line)
        require(match or not line.startswith("#"), f"an odd comment: {line!r}")
        if not match:
            match = SAMPLE.fullmatch(line)
            require(match, f"no sample: {line!r}")
            name, value = match[1], match[3]
            require(name == current and name in types, f"{name} stands apart from its TYPE")
            require(NUMBER.fullmatch(value), f"no number: {line!r}")
            key = name, tuple(sorted(labels_of(match[2]).items()))
            require(key not in samples, f"twice: {line!r}")
            samples[key] = float(value.replace("Inf", "inf"))
            continue
        kind, name, rest = match.groups()
        if name != current:
            require(name not in closed, f"{name} is begun twice")
            closed.add(current)
            current = name
        if kind == "HELP":
            require(name not in helps, f"two HELP of {name}")
            helps.add(name)
            require(rest.endswith("."), f"HELP of {name} is no sentence")
        else:
            require(name in helps and name not in types, f"TYPE of {name} is misplaced")
            require(rest in ("counter", "gauge"), f"type {rest}")
            require((rest == "counter") == name.endswith("_total"), f"{name} is a {rest}")
            types[name] = rest
    require({name for name, _ in samples} == set(types), "a TYPE without a sample")
    return samples


class Metrics:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.samples = parse(file.read())

    def job(self, name):
        """The value of the whole job; None: there is none."""
        found = [value for (key, labels), value in self.samples.items()
                 if key == name and "rank" not in dict(labels)]
        require(len(found) < 2, f"{name} is there {len(found)} times")
        return found[0] if found else None

    def ranks(self, name):
        return {int(dict(labels)["rank"]): value
                for (key, labels), value in self.samples.items()
                if key == name and "rank" in dict(labels)}

    def state(self):
        states = {dict(labels)["state"]: value
                  for (key, labels), value in self.samples.items()
                  if key == "dml_run_state"}
        require(set(states) == STATES and sum(states.values()) == 1, f"states {states}")
        return max(states, key=states.get)


def events_of(text):
    events = [json.loads(line) for line in text.splitlines()]
    for event in events:
        require(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]),
                f"time {event['time']}")
    return events


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def close_to(a, b):
    return math.isclose(a, b, rel_tol=1e-8, abs_tol=1e-12)


def top(*words, env=None):
    """Exit status, standard output and standard error of dml-top."""
    program = os.path.join(os.path.dirname(Job.program), "dml-top")
    done = subprocess.run([program, *words], capture_output=True, timeout=LIMIT_S,
                          check=False, env=dict(os.environ, **(env or {})))
    return done.returncode, done.stdout.decode(), done.stderr.decode()
