# SPDX-License-Identifier: BSD-3-Clause
"""Bars of the importance of features that dml-prf writes; see plot.

Each line is one object, {"feature", "number", "importance"}. Shown are the features of
largest importance; where names are numbers of pixels of a square image, the image, too.
"""
import json
import math

SHOWN = 30


def read(path):
    """The objects of a file if it holds importance, else nothing."""
    rows = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                return []
            if not isinstance(row, dict) or not {"feature", "importance"} <= row.keys():
                return []
            rows.append(row)
    return rows


def draw_bars(axes, rows):
    top = sorted(rows, key=lambda row: -row["importance"])[:SHOWN][::-1]
    axes.barh([row["feature"] for row in top], [row["importance"] for row in top],
              color="steelblue")
    axes.set_title(f"importance of the first {len(top)} of {len(rows)} features", loc="left")
    axes.tick_params(labelsize="small")
    for side in "top", "right":
        axes.spines[side].set_visible(False)


def draw(rows, pyplot):
    side = math.isqrt(len(rows))
    square = side > 7 and side * side == len(rows) and \
        all(row["feature"] == str(row.get("number")) for row in rows)
    if not square:
        figure, axes = pyplot.subplots(figsize=(7, 1 + 0.22 * min(SHOWN, len(rows))))
        draw_bars(axes, rows)
    else:
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 6))
        draw_bars(left, rows)
        values = [row["importance"] for row in rows]
        image = [values[r * side:(r + 1) * side] for r in range(side)]
        right.imshow(image, cmap="viridis")
        right.set_title("by pixel", loc="left")
    figure.tight_layout()
    return figure
