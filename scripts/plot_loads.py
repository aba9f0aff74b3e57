# SPDX-License-Identifier: BSD-3-Clause
"""The load of each rank under each planner, as dml-skew compare --json writes it.

One panel a planner, its ranks as bars from the heaviest to the lightest, in shares of a
perfectly even load. Used by scripts/plot.
"""
import json

COLUMNS = 3


def read(paths):
    """What dml-skew wrote in the first file, or None."""
    try:
        with open(paths[0], encoding="utf-8", errors="replace") as file:
            value = json.load(file)
    except (OSError, ValueError):
        return None
    planners = value.get("planners") if isinstance(value, dict) else None
    good = isinstance(planners, list) and all(
        isinstance(p, dict) and p.get("loads") and "planner" in p for p in planners)
    return value if planners and good else None


def draw_planner(axes, planner, top, color):
    loads = sorted(planner["loads"], reverse=True)
    share = sum(loads) / len(loads) or 1
    axes.bar(range(len(loads)), [load / share for load in loads], width=0.85,
             color=color)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylim(0, top)
    axes.set_xticks([])
    axes.set_title(f"{planner['planner']}: {planner['imbalance']:.3f}", loc="left",
                   fontsize=10)
    axes.grid(True, axis="y", alpha=0.3)
    for side in "top", "right":
        axes.spines[side].set_visible(False)


def draw(value, pyplot):
    planners = value["planners"]
    rows = (len(planners) + COLUMNS - 1) // COLUMNS
    top = 1.08 * max(max(p["imbalance"], 1) for p in planners)
    palette = pyplot.get_cmap("tab10").colors
    figure, grid = pyplot.subplots(rows, COLUMNS, figsize=(9, 0.9 + 2.1 * rows),
                                   squeeze=False, sharey=True)
    panels = [axes for row in grid for axes in row]
    for i, (planner, axes) in enumerate(zip(planners, panels)):
        draw_planner(axes, planner, top, palette[i % len(palette)])
    for axes in panels[len(planners):]:
        axes.set_axis_off()
    for row in grid:
        row[0].set_ylabel("load / mean")
    figure.suptitle(f"{value['data'].split('/')[-1]}, key {value['key']}: "
                    f"{value['records']} records on {value['ranks']} ranks, "
                    f"{100 * value['rate']:g} % sampled; largest/mean load", fontsize=10)
    figure.tight_layout()
    return figure
