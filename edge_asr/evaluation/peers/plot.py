"""The comparison as a picture: word error rate against compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_asr.errors import MissingExtraError
from edge_asr.evaluation.peers.report import Comparison, Row

OURS, OTHERS = "#0b6e99", "#b5482a"
PLACES = [(7, 4, "left"), (7, -11, "left"), (-7, 4, "right"), (-7, -11, "right")]
PLACES += [(x, y, align) for y in (16, -23, 28, -35, 40, -47) for x, align in ((7, "left"), (-7, "right"))]


def plot(comparison: Comparison, path: Path) -> None:
    """Draw WER (with its interval) against CPU seconds per second of audio, on a logarithmic axis.

    This project's exits are joined by a line (dashed with the language model); better is to the lower left.

    Args:
        comparison: what to draw.
        path: the PNG file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError(f"drawing needs matplotlib: pip install 'edge-asr[train]' ({error})") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, axes = pyplot.subplots(figsize=(8.0, 5.0), layout="constrained")
    for with_lm in (False, True):
        exits = [r for r in comparison.rows if r.is_ours and not _is_auto(r) and r.name.endswith("-lm") == with_lm]
        costs, rates = [row.rtf for row in exits], [100 * row.wer for row in exits]
        axes.plot(costs, rates, "--" if with_lm else "-", color=OURS, linewidth=1.2, zorder=1)
    for row in comparison.rows:
        _point(axes, row)
    axes.set_xscale("log")
    if comparison.rows:
        costs = [row.rtf for row in comparison.rows]
        axes.set_xlim(min(costs) / 1.35, max(costs) * 1.9)  # room for names on the right
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=0)
    axes.set_xlabel("CPU seconds per second of audio (log)")
    axes.set_ylabel("word error rate, %")
    axes.set_title(
        f"{comparison.utterances} utterances, {comparison.speakers} speakers; bars: 95 % over speakers", fontsize=10
    )
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if comparison.rows:
        _names(axes, comparison.rows)
    for color, name in ((OURS, "edge-asr, by exit (dashed: with its language model)"), (OTHERS, "others")):
        axes.plot([], [], "o", color=color, label=name)
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _is_auto(row: Row) -> bool:
    return row.name.removesuffix("-lm").endswith("-auto")


def _point(axes: Any, row: Row) -> None:
    color = OURS if row.is_ours else OTHERS
    rate, bars = 100 * row.wer, [[100 * (row.wer - row.wer_low)], [100 * (row.wer_high - row.wer)]]
    marker, size = ("*", 12) if _is_auto(row) else ("o", 6)
    axes.errorbar(
        row.rtf, rate, yerr=bars, fmt=marker, markersize=size, color=color, ecolor=color, elinewidth=0.8, capsize=2
    )


def _names(axes: Any, rows: tuple[Row, ...]) -> None:
    """Write each name at the first place around its point where it covers neither a point nor another name."""
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()  # the layout is final only then
    points = axes.transData.transform([(row.rtf, 100 * row.wer) for row in rows])
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in points]
    for row in rows:
        text = axes.annotate(
            row.name.removeprefix("ours-"),
            (row.rtf, 100 * row.wer),
            textcoords="offset points",
            xytext=PLACES[0][:2],
            fontsize=8,
            color=OURS if row.is_ours else OTHERS,
        )
        for x, y, align in PLACES:
            text.set(position=(x, y), ha=align)
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(text.get_window_extent())
