"""A trade-off as Markdown, and as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[Sequence[str]]
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;font-size:.9rem}
td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:right}
td:first-child,th:first-child{text-align:left}th{background:#f3f3f3}img{max-width:100%}p.note{color:#555}"""


def sections(result: Mapping[str, Any]) -> list[tuple[str, str, list[str], Rows]]:
    """The tables: title, note, head, rows."""
    scale = 1e-6 if result["full_depth_cost"] > 1e4 else 1.0
    shown = result["shown"]
    found: list[tuple[str, str, list[str], Rows]] = [
        (
            "Fixed exits",
            f"{result['judged_utterances']} utterances; thresholds are shaped on {result['fit_utterances']} others.",
            ["exit", "WER %", "MMAC/s", "of full depth"],
            [
                [str(e["exit"]), _percent(e["wer"]), f"{e['cost'] * scale:.1f}", f"{e['share']:.0%}"]
                for e in result["fixed"]
            ],
        ),
        (
            "Policies at about the same cost",
            "Differences of WER in percentage points with their 95 % interval (paired bootstrap over utterances): "
            "against mixing two fixed exits, and against the same exits dealt by chance. Below 0 the policy is better.",
            ["policy", "of full depth", "WER %", "loss against full %", "minus hull", "minus random"],
            [
                [
                    row["policy"],
                    f"{row['share']:.0%}",
                    _percent(row["wer"]),
                    f"{100 * row['relative_loss']:+.1f}",
                    _interval(row["minus_hull"]),
                    _interval(row["minus_random"]),
                ]
                for row in result["comparison"]
            ],
        ),
        (
            "How well a criterion tells that an exit is wrong (AUROC)",
            "Wrong: leaving here costs word errors, all other chunks going to the last exit. Share of such chunks: "
            + ", ".join(f"exit {i} {share:.0%}" for i, share in enumerate(result["harmful"], start=1))
            + ".",
            ["criterion", *(f"exit {i}" for i in range(1, len(result["fixed"])))],
            [
                [name, *("–" if value is None else f"{value:.3f}" for value in values)]
                for name, values in result["auroc"].items()
            ],
        ),
        (
            "Hysteresis",
            f"The shown policy is {shown['criterion']} at {shown['share']:.0%} of full depth. Leaving earlier than the "
            "chunk before needs to be surer by so much; the last column is the mean change of exit between chunks.",
            ["hysteresis", "WER %", "of full depth", "mean change"],
            [
                [f"{r['hysteresis']:.3g}", _percent(r["wer"]), f"{r['share']:.0%}", f"{r['mean_change']:.2f}"]
                for r in shown["hysteresis"]
            ],
        ),
        (
            "Partials and finals",
            "A cheaper policy speaks first; at the end its chunks go on to where the shown policy leaves "
            f"({shown['partials']['revisited']:.0%} of them). Texts repaired: {shown['partials']['repaired']}, spoilt: "
            f"{shown['partials']['spoilt']}, of {shown['partials']['utterances']}.",
            ["", "WER %", "of full depth"],
            [
                [
                    name.replace("_", " "),
                    _percent(shown["partials"][name]["wer"]),
                    f"{shown['partials'][name]['share']:.0%}",
                ]
                for name in ("partial", "final", "one_pass")
            ],
        ),
        (
            "Does a promised loss hold?",
            "Thresholds are certified on half of the judged utterances and checked on the other half.",
            ["allowed loss", "confidence", "split", "kept", "mean cost of full depth", "utterances"],
            [
                [
                    f"{row['max_loss']:.0%}",
                    f"{row['confidence']:.0%}",
                    kind.replace("_", " "),
                    f"{row[kind]['kept']:.0%}",
                    f"{row[kind]['mean_share']:.0%}",
                    str(row[kind]["utterances"]),
                ]
                for row in result["risk_control"]
                for kind in ("random", "by_speaker")
                if kind in row
            ],
        ),
        (
            "Computation per chunk",
            "Milliseconds on the machine that recorded; whole chunks only, except where each has its own length.",
            ["", "p50", "p95", "p99"],
            [[r["policy"], *(f"{1000 * r[p]:.1f}" for p in ("p50", "p95", "p99"))] for r in result["latency"]],
        ),
    ]
    if result.get("conditions"):
        exits = range(1, len(result["fixed"]) + 1)
        found.append(
            (
                "Depth by condition",
                "The shown policy with the thresholds of clean speech; nobody told it about noise.",
                ["condition", "mean exit", "WER %", *(f"exit {i} WER %" for i in exits)],
                [
                    [name, f"{c['mean_exit']:.2f}", _percent(c["wer"]), *(_percent(wer) for wer in c["fixed_wer"])]
                    for name, c in result["conditions"].items()
                ],
            )
        )
    return found


def heading(result: Mapping[str, Any]) -> str:
    """The title."""
    return f"Trade-off of {result.get('model', 'a model')}, chunk {result.get('chunk', '?')}"


def facts(result: Mapping[str, Any]) -> str:
    """What was measured on what."""
    names = ("model", "precision", "decoder", "chunk", "data", "data_sha256", "utterances", "seed", "command")
    return ", ".join(f"{name} {result[name]}" for name in names if name in result)


def markdown(result: Mapping[str, Any], plots: Mapping[str, Path]) -> str:
    """The page as Markdown; plots are named relative to it."""
    lines = [f"# {heading(result)}", "", facts(result), ""]
    for title, file in plots.items():
        lines += [f"![{title}]({file.name})", ""]
    for title, note, head, rows in sections(result):
        lines += [f"## {title}", "", note, "", _row(head), _row("---" for _ in head), *map(_row, rows), ""]
    return "\n".join(lines)


def page(result: Mapping[str, Any], plots: Mapping[str, Path]) -> str:
    """The page as HTML, plots inside."""
    parts = [f"<h1>{html.escape(heading(result))}</h1>", f'<p class="note">{html.escape(facts(result))}</p>']
    for title, file in plots.items():
        data = base64.b64encode(file.read_bytes()).decode()
        parts.append(f'<p><img alt="{html.escape(title)}" src="data:image/png;base64,{data}"></p>')
    for title, note, head, rows in sections(result):
        parts += [f"<h2>{html.escape(title)}</h2>", f'<p class="note">{html.escape(note)}</p>', "<table>"]
        for tag, cells in (("th", head), *(("td", row) for row in rows)):
            parts.append("<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>")
        parts.append("</table>")
    title = html.escape(heading(result))
    head_part = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head_part}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n'
    )


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f}"


def _interval(values: Sequence[float]) -> str:
    mean, low, high = (100 * value for value in values)
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"
