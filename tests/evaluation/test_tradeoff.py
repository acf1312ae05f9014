"""The trade-off on utterances made by hand."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_asr.errors import MissingExtraError, OptionError
from edge_asr.evaluation.baselines import compare, fixed_hull, hull_errors, oracle, random_errors
from edge_asr.evaluation.chunk_table import ChunkTable
from edge_asr.evaluation.recording import Recording
from edge_asr.evaluation.tradeoff import condition, tradeoff
from edge_asr.evaluation.tradeoff_page import markdown, page
from edge_asr.evaluation.tradeoff_plots import draw_plots
from edge_asr.exits.criterion import CRITERIA
from tests.evaluation.synthetic import TOKENS, chunk, recording

MACS = (1e6, 2e6, 3e6)


def mixed(count: int = 60) -> list[Recording]:
    """Utterances of three chunks: exit 1 is wrong, and unsure, in every third of them; two speakers."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        hard = rng.random(3) < 1 / 3
        sure = rng.uniform(0.1, 0.3, (3, 3)) + hard[:, None] * [0.5, 0.1, 0.0]
        chunks = [chunk(k, ["FIVE" if hard[k] else "ONE", "ONE", "ONE"], sure[k].tolist()) for k in range(3)]
        found.append(recording(f"{'ab'[i % 2]}-{i}", "ONE ONE ONE", chunks))
    return [
        Recording(
            type(r.utterance)(r.utterance.id, r.utterance.audio, r.utterance.text, r.utterance.id[0]), 1.0, r.chunks
        )
        for r in found
    ]


@pytest.fixture(scope="module")
def table() -> ChunkTable:
    return ChunkTable(mixed(), MACS, TOKENS)


def test_references(table: ChunkTable) -> None:
    hull = fixed_hull(table)
    assert [cost for cost, _ in hull] == [1e6, 2e6]  # exit 3 is no better than exit 2
    middle = hull_errors(table, 1.5e6)
    assert middle.sum() == pytest.approx(table.errors(table.fixed(1)).sum() / 2)
    assert hull_errors(table, 9e9).sum() == hull_errors(table, 2e6).sum() == 0
    assert hull_errors(table, 0.0).sum() == table.errors(table.fixed(1)).sum()
    (best,) = oracle(table, [1e-3])
    assert table.errors(best).sum() == 0
    assert table.cost(best) < 1.5e6
    chance = random_errors(table, best)
    assert 0 < chance.sum() < table.errors(table.fixed(1)).sum()
    row = compare(table, best)
    assert row["wer"] == 0.0
    for name in ("minus_hull", "minus_random"):
        mean, low, high = row[name]  # type: ignore[misc]
        assert low <= mean <= high < 0


def test_chance_is_dealt_among_similar_lengths_too() -> None:
    """Whole utterances: hardly two are of the same length, and chance must not see more than elsewhere."""
    parts = []
    for i in range(60):
        part = chunk(0, ["ONE" if i % 2 else "FIVE", "ONE"], [0.1, 0.1])
        info = replace(part.info, n_valid=200 + i)
        parts.append(recording(f"u{i}", "ONE", [type(part)(info, part.frames, part.log_probs)]))
    table = ChunkTable(parts, (1.0, 2.0), TOKENS)
    knowing = np.array([1 if i % 2 else 2 for i in range(60)])
    assert table.errors(knowing).sum() == 0
    assert random_errors(table, knowing).sum() == pytest.approx(15, abs=4)


def test_a_criterion_that_knows_beats_the_hull_and_chance(table: ChunkTable) -> None:
    result, shown = tradeoff(table, share=0.45)
    json.dumps(result, allow_nan=False)
    assert set(result["auroc"]) == set(CRITERIA)
    assert result["auroc"]["frame_entropy"][0] == pytest.approx(1.0)
    assert result["auroc"]["frame_entropy"][1] is None  # nothing is wrong there
    assert set(result["curves"]) == {*CRITERIA, "frame_entropy, common threshold", "oracle", "random"}
    rows = [row for row in result["comparison"] if row["policy"] == "frame_entropy" and row["wanted_share"] == 0.5]
    assert rows[0]["minus_hull"][2] < 0 or rows[0]["share"] >= 2 / 3
    assert result["shown"]["wer"] < 0.05
    assert result["shown"]["share"] < 0.6
    partials = result["shown"]["partials"]
    assert partials["partial"]["share"] <= partials["one_pass"]["share"] <= partials["final"]["share"]
    changes = [row["mean_change"] for row in result["shown"]["hysteresis"]]
    assert changes == sorted(changes, reverse=True)
    for row in result["risk_control"]:
        assert row["random"]["kept"] >= 0.9
        assert "by_speaker" in row
    assert condition(table, shown)["utterances"] == 60


def test_the_page_needs_no_other_file(table: ChunkTable, tmp_path: Path) -> None:
    result, shown = tradeoff(table, criteria=["frame_entropy", "margin"])
    result |= {"model": "<fake>", "chunk": "640", "conditions": {"clean": condition(table, shown)}}
    plots = draw_plots(result, tmp_path)
    assert {file.name for file in plots.values()} >= {"wer_cost.png", "exits.png", "risk_coverage.png"}
    text = page(result, plots)
    assert 'src="data:image/png;base64,' in text
    assert "&lt;fake&gt;" in text
    assert "<fake>" not in text
    assert "http" not in text
    written = markdown(result, plots)
    for title in ("Fixed exits", "Policies at about the same cost", "AUROC", "Depth by condition"):
        assert title in text
        assert title in written
    widths = [line.count("|") for line in written.splitlines() if line.startswith("|")]
    assert min(widths) >= 4


def test_wrong_options(table: ChunkTable) -> None:
    with pytest.raises(OptionError, match="criterion='luck'"):
        tradeoff(table, criteria=["luck"])
    with pytest.raises(OptionError, match="share=0"):
        tradeoff(table, share=0)
    with pytest.raises(OptionError, match="at least two exits"):
        tradeoff(ChunkTable([recording("a", "ONE", [chunk(0, ["ONE"], [0.1])])], [1.0], TOKENS))


def test_plots_need_their_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"edge-asr\[plots\]"):
        draw_plots({}, tmp_path)
