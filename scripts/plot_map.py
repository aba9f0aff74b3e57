# SPDX-License-Identifier: BSD-3-Clause
"""The map that dml-perf --sweep measures: which algorithm is fastest, by size and ranks.

A cell has the colour of the fastest algorithm, and its time: that of the fastest block,
which other work on the machine spoils least. A dot marks the cells where the automatic
choice was more than 10 % slower. Used by scripts/plot.
"""
import json


def read(path):
    """The lines of a sweep: objects with "sweep", or an empty list."""
    rows = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and row.get("sweep"):
                rows.append(row)
    return rows


def cells(rows):
    """{(ranks, bytes): {algorithm: microseconds}}, of the fastest block."""
    found = {}
    for row in rows:
        found.setdefault((row["nranks"], row["bytes"]), {})[row["algorithm"]] = \
            row["time_min_us"]
    return found


def short(us):
    return f"{us:.2g}" if us < 10 else f"{us:.0f}" if us < 1e4 else f"{us / 1000:.0f}k"


def size_name(size):
    for unit, text in (1 << 20, "M"), (1 << 10, "K"):
        if size >= unit:
            return f"{size / unit:.3g}{text}"
    return str(size)


def draw(rows, pyplot):
    table = cells(rows)
    ranks = sorted({key[0] for key in table})
    sizes = sorted({key[1] for key in table})
    best, slower = {}, []
    for key, times in table.items():
        alone = {name: us for name, us in times.items() if name != "auto"}
        best[key] = min(alone, key=alone.get)
        if times.get("auto", 0) > 1.1 * alone[best[key]]:
            slower.append(key)
    names = sorted(set(best.values()))
    palette = pyplot.get_cmap("tab20").colors
    colors = {name: palette[i % len(palette)] for i, name in enumerate(names)}
    figure, axes = pyplot.subplots(
        figsize=(2 + 0.52 * len(sizes), 1.6 + 0.42 * len(ranks)))
    for (nranks, size), name in best.items():
        x, y = sizes.index(size), ranks.index(nranks)
        axes.add_patch(pyplot.Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colors[name],
                                        edgecolor="white"))
        axes.text(x, y, short(table[nranks, size][name]), ha="center", va="center",
                  fontsize=7)
    axes.plot([sizes.index(s) + 0.35 for _, s in slower],
              [ranks.index(r) + 0.3 for r, _ in slower], "k.", markersize=4)
    axes.set_xlim(-0.5, len(sizes) - 0.5)
    axes.set_ylim(-0.5, len(ranks) - 0.5)
    axes.set_xticks(range(len(sizes)), [size_name(s) for s in sizes], rotation=60,
                    fontsize=8)
    axes.set_yticks(range(len(ranks)), ranks)
    axes.set_xlabel("bytes")
    axes.set_ylabel("ranks")
    axes.set_title(f"{rows[0]['collective']} {rows[0]['dtype']}: the fastest algorithm and "
                   "its microseconds\n(dot: the automatic choice is over 10 % slower)",
                   loc="left", fontsize=9)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=colors[name]) for name in names]
    axes.legend(handles, names, loc="center left", bbox_to_anchor=(1.01, 0.5),
                frameon=False, fontsize=8)
    figure.tight_layout()
    return figure
