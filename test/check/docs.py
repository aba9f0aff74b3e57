#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every public function says what a caller must know, and every variable is listed.

For each DML_API function the doc comment right above it must state, itself or through
the file's head, or through another function it refers to as "dml_name()":
  - since which version it is there (@since; in its own comment, always);
  - whether it is collective ("collective", "pure", "communicates nothing");
  - which threads may call it ("thread");
  - for a dml_status, what is returned (@return, or the codes in the file's head).

Each environment variable DML_* that the library or an application reads must be named
in include/dml, README.md or doc/, and in the table of lib/core/env.c, by which misspelt
ones are found; README.md describes all of that table. doc/collectives.md names every
algorithm. Usage: docs.py [ROOT]
"""

import os
import re
import sys

import tree

FUNCTION = re.compile(r"^DML_API\s+([^;{]*?)\b(dml_\w+)\s*\(", re.M)
COMMENT = re.compile(r"/\*\*.*?\*/", re.S)
# What -> (pattern in a function's comment, pattern in a file's head, which must speak
# of all functions below it).
NEEDS = {
    "collective or not": (
        re.compile(r"collective|\bpure\b", re.I),
        re.compile(r"every call is collective|none is collective|no communication|"
                   r"nothing here communicates|\bpure function", re.I)),
    "thread rule": (re.compile(r"thread|\bpure\b", re.I),
                    re.compile(r"thread|\bpure function", re.I)),
}
RETURN = (re.compile(r"@return"), re.compile(r"DML_E[A-Z]+"))
READS = re.compile(r'dml__ctx_env\s*\(\s*[^,()]+,\s*"(\w+)"\s*\)|getenv\s*\(\s*"(DML_\w+)"')


def functions(path, text):
    """(path, line, name, returned type, comment or "") of every public function."""
    for match in FUNCTION.finditer(text):
        before = text[:match.start()].rstrip()
        comment = ""
        if before.endswith("*/"):
            start = before.rfind("/**")
            if start >= 0 and COMMENT.fullmatch(before, start):
                comment = before[start:]
        yield path, tree.line_of(text, match.start()), match[2], match[1].strip(), comment


def states(patterns, name, comments, heads, seen):
    """Whether a function, its file or one it refers to matches its pattern."""
    if name in seen or name not in comments:
        return False
    seen.add(name)
    comment, path = comments[name]
    if patterns[0].search(comment) or patterns[1].search(heads[path]):
        return True
    return any(states(patterns, other, comments, heads, seen)
               for other in re.findall(r"\b(dml_\w+)\(\)", comment))


def check_algorithms(top, report):
    """doc/collectives.md speaks of every algorithm that the registry lists."""
    folder, page = "lib/collectives", "doc/collectives.md"
    text = tree.read(top, page)
    report.looked_at(page)
    for path in tree.files(top, ".c", folders=(folder,)):
        for name in re.findall(r'\.name = "(\w+)",\s*\.text = ', tree.read(top, path)):
            if not re.search(rf"\b{name}\b", text):
                report.fault(page, 1, f"the algorithm {name} of {path} is not named")


def check_headers(top, report):
    found, heads = [], {}
    for path in tree.files(top, ".h", folders=("include/dml",)):
        text = tree.read(top, path)
        report.looked_at(path)
        first = COMMENT.search(text)
        head = first[0] if first and "@file" in first[0] else ""
        heads[path] = re.sub(r"\s*\n \*\s*", " ", head)
        if not heads[path]:
            report.fault(path, 1, "no file comment with @file")
        found.extend(functions(path, text))
    comments = {name: (comment, path) for path, _, name, _, comment in found}
    for path, line, name, result, comment in found:
        if not comment:
            report.fault(path, line, f"{name} has no doc comment")
            continue
        if not re.search(r"@since[\s*]+\d", comment):
            report.fault(path, line, f"{name}: no @since")
        needs = dict(NEEDS)
        if result == "dml_status":
            needs["@return"] = RETURN
        for what, patterns in needs.items():
            if not states(patterns, name, comments, heads, set()):
                report.fault(path, line, f"{name}: comment does not state: {what}")


def check_environment(top, report):
    text = "".join(tree.read(top, path) for path in
                   tree.files(top, ".h", folders=("include/dml",)) +
                   tree.files(top, ".md", folders=("doc",)))
    if os.path.isfile(os.path.join(top, "README.md")):
        text += tree.read(top, "README.md")
    documented = set(re.findall(r"\bDML_\w+", text))
    for path in tree.files(top, ".c", ".h", ".cu", folders=("lib", "apps", "perf")):
        source = tree.read(top, path)
        report.looked_at(path)
        for match in READS.finditer(tree.without_comments(source)):
            name = match[2] or "DML_" + match[1]
            if name.startswith("DML_TEST_"):  # for tests alone; core.h tells of them
                continue
            if name not in documented:
                report.fault(path, tree.line_of(source, match.start()),
                             f"variable {name} is read but documented nowhere")


def check_table_of_variables(top, report):
    """lib/core/env.c against what is read and README.md."""
    path = "lib/core/env.c"
    if not os.path.isfile(os.path.join(top, path)):
        return
    report.looked_at(path)
    text = tree.read(top, path)
    start = text.find("names[] = {")
    known = set(re.findall(r'"(\w+)"', text[start:text.find("};", start)]))
    readme = tree.read(top, "README.md")
    start = readme.find("## Environment")
    described = set(re.findall(r"`DML_(\w+)", readme[start:readme.find("\n## ", start)]))
    colls = tree.read(top, "include/dml/coll.h")
    described.update(re.findall(r"^ +X\((\w+), \d+, ", colls, re.M))
    for name in sorted(known - described):
        report.fault(path, 1, f"DML_{name} is not described in README.md, Environment")
    for source in tree.files(top, ".c", ".h", ".cu", folders=("lib", "apps", "perf")):
        code = tree.without_comments(tree.read(top, source))
        for match in READS.finditer(code):
            name = match[1] or match[2][4:]
            if not name.startswith("TEST_") and name not in known:
                report.fault(source, tree.line_of(code, match.start()),
                             f"variable DML_{name} is not in the table of {path}")


def main():
    top = tree.root()
    report = tree.Report()
    check_headers(top, report)
    check_algorithms(top, report)
    check_environment(top, report)
    check_table_of_variables(top, report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
