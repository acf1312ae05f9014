"""Plots of a trade-off, with matplotlib (an optional extra)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_asr.evaluation.pyplot import load_pyplot

REFERENCES = {"oracle": ("black", ":"), "random": ("dimgrey", "--")}
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf", "#6a3d9a")


def draw_plots(result: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Draw all plots that the result has data for.

    Args:
        result: of `tradeoff`, with `conditions` if there are any.
        folder: where the PNG files go.

    Returns:
        The files by title, in the order to show them.

    Raises:
        MissingExtraError: matplotlib isn't installed.
    """
    pyplot = load_pyplot()
    drawings = {
        "Word error rate against mean cost": ("wer_cost.png", _wer_cost),
        "Exits taken by condition": ("exits.png", _exits),
        "Harm among the chunks that would leave": ("risk_coverage.png", _risk_coverage),
        "Computation per chunk": ("latency.png", _latency),
    }
    files = {}
    for title, (name, draw) in drawings.items():
        figure, axes = pyplot.subplots(figsize=(8, 5), dpi=110)
        axes.set_prop_cycle(color=COLOURS)
        if draw(result, axes):
            axes.grid(alpha=0.25)
            axes.set_title(title)
            figure.tight_layout()
            figure.savefig(folder / name)
            files[title] = folder / name
        pyplot.close(figure)
    return files


def _scale(result: Mapping[str, Any]) -> tuple[float, str]:
    return (1e-6, "MMAC per second of audio") if result["full_depth_cost"] > 1e4 else (1.0, "mean cost")


def _wer_cost(result: Mapping[str, Any], axes: Any) -> bool:
    scale, unit = _scale(result)
    for name, points in result["curves"].items():
        ordered = sorted((point["cost"] * scale, 100 * point["wer"]) for point in points)
        colour, style = REFERENCES.get(name, (None, "-"))
        axes.plot(*zip(*ordered, strict=True), style, color=colour, marker=".", markersize=4, linewidth=1.2, label=name)
    hull = [(cost * scale, 100 * wer) for cost, wer in result["hull"]]
    axes.plot(*zip(*hull, strict=True), color="black", linewidth=2, label="hull of fixed exits")
    for exit in result["fixed"]:
        axes.plot(exit["cost"] * scale, 100 * exit["wer"], "ks", markersize=5)
        axes.annotate(str(exit["exit"]), (exit["cost"] * scale, 100 * exit["wer"]), (5, 5), textcoords="offset points")
    axes.set_xlabel(unit + " (everything counted)")
    axes.set_ylabel("WER, %")
    axes.legend(fontsize=7)
    return True


def _exits(result: Mapping[str, Any], axes: Any) -> bool:
    rows = {name: found["histogram"] for name, found in result.get("conditions", {}).items()}
    if not rows:
        rows = {"clean": result["shown"]["histogram"]}
    from matplotlib import colormaps

    colours = colormaps["viridis"]
    bottoms = [0.0] * len(rows)
    exits = len(result["fixed"])
    for exit in range(exits):
        heights = [100 * histogram[exit] for histogram in rows.values()]
        colour = colours(exit / max(1, exits - 1))
        axes.bar(list(rows), heights, bottom=bottoms, color=colour, label=f"exit {exit + 1}", width=0.65)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    for place, found in enumerate(result.get("conditions", {}).values()):
        axes.annotate(f"mean {found['mean_exit']:.2f}", (place, 101), ha="center", fontsize=8)
    axes.set_ylim(0, 110)
    axes.set_ylabel("chunks, %")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return True


def _risk_coverage(result: Mapping[str, Any], axes: Any) -> bool:
    for name, points in result["risk_coverage"].items():
        xs, ys = zip(*points, strict=True)
        axes.plot([100 * x for x in xs], [100 * y for y in ys], linewidth=1.2, label=name)
    middle = (len(result["fixed"]) - 1) // 2 + 1
    axes.set_xlabel(f"chunks that leave at exit {middle}, the surest first, %")
    axes.set_ylabel("of these, harmed by leaving, %")
    axes.legend(fontsize=7)
    return True


def _latency(result: Mapping[str, Any], axes: Any) -> bool:
    rows = result["latency"]
    if not rows:
        return False
    for number, name in enumerate(("p50", "p95", "p99")):
        places = [place + (number - 1) * 0.26 for place in range(len(rows))]
        axes.bar(places, [1000 * row[name] for row in rows], width=0.25, label=name)
    axes.set_xticks(range(len(rows)), [row["policy"] for row in rows], rotation=20)
    axes.set_ylabel("ms per chunk")
    axes.legend(fontsize=8)
    return True
