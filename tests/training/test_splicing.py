"""Policies, scores and costs of per-chunk exits on small random encoders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_asr.model.config import ModelConfig
from edge_asr.model.layers import exit_stats
from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.branching import branch
from edge_asr.training.scoring import score_exits
from edge_asr.training.splicing import (
    Case,
    add_batch,
    agrees_with_the_last,
    decided_exits,
    depth_costs,
    empty_score,
    errors_near,
    greedy,
    owed_chunks,
    random_exits,
    within_entropy,
)
from edge_asr.training.tokenizer import Tokenizer
from edge_asr.training.weights import save_weights
from tests.training.corpora import texts

TOKENIZER = Tokenizer.train(texts(40, 1), 12)


def build(architecture: str, phones: int = 0) -> AsrModel:
    torch.manual_seed(0)
    config = ModelConfig(
        architecture=architecture, dim=16, heads=2, vocabulary=12, phones=phones, exits=3, history=16, branches=(1, 3)
    )
    return AsrModel(config).eval()


def make_batch(lengths: list[int]) -> Batch:
    mels = torch.from_numpy(np.random.default_rng(0).normal(-7, 3, (len(lengths), 4 * max(lengths) + 3, 80))).float()
    ids = [TOKENIZER.encode("ONE TWO"), TOKENIZER.encode("SIX")]
    return Batch(
        mels,
        torch.tensor(lengths),
        torch.tensor([i for t in ids for i in t]),
        torch.tensor([len(t) for t in ids]),
        1.0,
        ["ONE TWO", "SIX"],
    )


def test_random_exits_have_the_mean_asked_for() -> None:
    exits = random_exits(torch.tensor([1] * 200), 100, 6, 3.5, np.random.default_rng(0))
    assert exits.float().mean() == pytest.approx(3.5, abs=0.05)
    assert (exits.min(), exits.max()) == (1, 6)


@pytest.mark.parametrize("architecture", ["splitformer-two-speed", "splitformer-stale"])
def test_entropy_exits_are_the_first_sure_ones(architecture: str) -> None:
    model, batch, case = build(architecture), make_batch([50, 33]), Case(16, 4)
    with torch.inference_mode():
        frames = model.frontend.subsampling(batch.mels)
        every = model.encoder(frames, batch.lengths, chunk=16, look_ahead=4)
    first = exit_stats(every[:, 0, :16])[..., 0].mean(dim=-1)
    threshold = float(first[1:].min() + first[:2].min()) / 2
    exits = decided_exits(model, frames, batch.lengths, case, within_entropy(threshold))
    assert exits.shape == (2, 4)
    sure = [i + 1 for i in range(2) if first[i] <= threshold]
    assert exits[0, 0] == (sure[0] if sure else 3)
    assert torch.all(decided_exits(model, frames, batch.lengths, case, within_entropy(100.0)) == 1)
    assert torch.all(decided_exits(model, frames, batch.lengths, case, within_entropy(-1.0)) == 3)


@pytest.mark.parametrize("skip", ["stale", "absent", "propagate"])
def test_decisions_in_order_are_those_of_a_runtime(skip: str) -> None:
    """Each decision is taken on what the chunk sees after the decisions before it, whatever comes later."""
    model, batch, case = build(f"splitformer-{skip}").double(), make_batch([50, 33]), Case(16, 4)

    def sure(log_probs: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        total = (log_probs[..., 1] * real).sum(dim=-1)
        return (100 * total).floor() % 2 == 0  # as good as chance, and sensitive to caches

    with torch.inference_mode():
        frames = model.frontend.subsampling(batch.mels.double())
        exits = torch.full((2, 4), 3)
        for n in range(4):
            every = model.encoder.every_exit(frames, batch.lengths, exits, 16, 4, 3)
            real = torch.arange(16 * n, min(16 * n + 16, 50))[None] < batch.lengths[:, None]
            stops = sure(every[:, :, 16 * n : 16 * n + 16], real)
            stops[-1] = True
            exits[:, n] = stops.int().argmax(dim=0) + 1
    assert torch.equal(decided_exits(model, frames, batch.lengths, case, sure)[0], exits[0])
    assert len(set(exits[0].tolist())) > 1


def test_chunks_caught_up_with() -> None:
    exits = torch.tensor([1, 1, 3, 2, 1, 1, 1, 2])
    assert owed_chunks(exits, 3, 2).tolist() == [0, 2 + 2, 2]
    assert owed_chunks(exits, 3, 4).tolist() == [0, 2 + 3, 2]
    assert owed_chunks(torch.tensor([3, 3, 1]), 3, 4).tolist() == [0, 0, 0]


def test_the_oracle_stops_where_the_chunk_reads_as_at_the_end() -> None:
    paths = torch.tensor([[[1, 1, 0, 2]], [[0, 1, 2, 2]], [[1, 0, 2, 4]]])
    log_probs = torch.nn.functional.one_hot(paths, 6).float()
    assert agrees_with_the_last(log_probs, torch.ones(1, 4, dtype=torch.bool)).tolist() == [[False], [False], [True]]
    real = torch.tensor([[True, True, True, False]])  # the last frame is padding
    assert agrees_with_the_last(log_probs, real).tolist() == [[False], [True], [True]]


def test_pure_segments_have_no_gap_and_stale_caches_do() -> None:
    batch, case = make_batch([50, 33]), Case(16, 4)
    pattern = torch.tensor([[3, 1, 3, 2], [1, 3, 2, 1]])
    gaps = {}
    for architecture in ("splitformer-two-speed", "splitformer-stale"):
        model = build(architecture)
        with torch.inference_mode():
            frames = model.frontend.subsampling(batch.mels)
            own = model.encoder.spliced(frames, batch.lengths, pattern, chunk=16, look_ahead=4)
            full = model.encoder(frames, batch.lengths, chunk=16, look_ahead=4)
        exact = torch.stack([full[pattern[0, n // 16] - 1, 0, n] for n in range(50)])
        gaps[architecture] = float((own[0, :50] - exact).abs().max())
        score = empty_score(3)
        add_batch(score, model, TOKENIZER, batch, frames, pattern, case)
        assert score.exit_frames.tolist() == [16 + 16 + 0, 2 + 1, 32 + 16]
        assert score.seams == 3 + 2
        assert len(score.spliced) == len(score.exact) == 2
        if architecture == "splitformer-two-speed":
            assert score.spliced == score.exact
    assert gaps["splitformer-two-speed"] < 1e-6
    assert gaps["splitformer-stale"] > 1e-4


def test_an_offline_encoder_takes_an_utterance_as_one_chunk() -> None:
    model, batch, case = build("splitformer-offline"), make_batch([50, 33]), Case(None, 0)
    score = empty_score(3)
    with torch.inference_mode():
        frames = model.frontend.subsampling(batch.mels)
        entropy = exit_stats(model.encoder(frames, batch.lengths, chunk=None)[:, 0])[..., 0].mean(dim=-1)
    exits = decided_exits(model, frames, batch.lengths, case, within_entropy(float(entropy[1:].min())))
    assert exits.shape == (2, 1)
    assert exits[0, 0] == int((entropy <= float(entropy[1:].min())).int().argmax()) + 1
    add_batch(score, model, TOKENIZER, batch, frames, torch.tensor([[3], [1]]), case)
    assert score.exit_frames.tolist() == [33, 0, 50]
    assert score.seams == 0
    assert score.spliced == score.exact
    assert depth_costs(model, case, 4.0) == sorted(depth_costs(model, case, 4.0))


def test_phones_are_no_part_of_decisions_and_texts() -> None:
    batch, case = make_batch([50, 33]), Case(16, 4)
    plain, both = build("splitformer-stale"), build("splitformer-stale", phones=5)
    branch(plain, both)
    every, seen = [], []
    for model in (plain, both):
        with torch.inference_mode():
            frames = model.frontend.subsampling(batch.mels)
            every.append(model.encoder(frames, batch.lengths, chunk=16, look_ahead=4))
        sure = within_entropy(float(exit_stats(every[0][:, 0, :16])[..., 0].mean()))
        exits = decided_exits(model, frames, batch.lengths, case, sure)
        score = empty_score(3)
        add_batch(score, model, TOKENIZER, batch, frames, exits, case)
        seen.append((exits.tolist(), score.spliced, score.exact, score_exits(model, [batch], TOKENIZER)))
    assert bool((every[1].argmax(dim=-1) >= 12).any())  # a phone would win, if it were asked
    assert seen[0] == seen[1]


def test_errors_near_a_seam() -> None:
    tokens, places = [1, 2, 2, 3], [3, 14, 17, 40]
    assert errors_near([16], [1, 2, 3], tokens, places) == 1  # a token doubled across the seam
    assert errors_near([30], [1, 2, 3], tokens, places) == 0  # the same far from one
    assert errors_near([16], [1, 9, 2, 2, 3], tokens, places) == 0  # lost after frame 3
    assert errors_near([16], [1, 2, 2, 9, 3], tokens, places) == 1  # lost after frame 17
    assert errors_near([16], [4], [], []) == 0


def test_greedy_merges_repeats() -> None:
    path = [0, 4, 4, 0, 4, 5, 5, 0]
    assert greedy(torch.nn.functional.one_hot(torch.tensor(path), 6).float()) == ([4, 4, 5], [1, 4, 5])


def test_costs_grow_with_depth_and_repeated_look_ahead() -> None:
    pure = depth_costs(build("splitformer-two-speed"), Case(16, 8), 4.0)
    own = depth_costs(build("splitformer-stale"), Case(16, 8), 4.0)
    assert pure == sorted(pure)
    assert pure[0] == pytest.approx(own[0])
    assert (own[-1] - own[0]) / (pure[-1] - pure[0]) == pytest.approx(1.5, abs=0.15)


def test_the_benchmark_from_end_to_end(prepared: Path, tmp_path: Path, repository: Path) -> None:
    for name in ("two-speed", "absent", "offline"):
        save_weights(tmp_path / f"{name}.safetensors", build(f"splitformer-{name}"), TOKENIZER, {})
    command = [sys.executable, "scripts/stale_cache.py", "--data", str(prepared), "--corpus", "dev-tones"]
    command += ["--out", str(tmp_path), "--depths", "1.5,2", "--thresholds", "0.5,2"]
    command += [f"{name}={tmp_path / name}.safetensors" for name in ("two-speed", "absent", "offline")]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "stale_cache.json").read_text())["rows"]
    assert len(rows) == 3 * (3 + 5)
    assert all(r["gap"] == [0, 0, 0] for r in rows if r["encoder"] != "absent" or r["policy"] == "fixed")
    assert all(r["wer"] == round(sum(r["errors"]) / sum(r["words"]), 4) for r in rows)
    table = (tmp_path / "stale_cache.md").read_text()
    assert table.count("\n") == 2 + 24
    # A run that was cut off goes on; other settings are refused.
    (tmp_path / "stale_cache.json").write_text(json.dumps({"settings": ["dev-tones", 200, 16, 8, 0], "rows": rows[:5]}))
    again = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "stale_cache.md").read_text() == table
    wrong = subprocess.run([*command, "--chunk", "8"], cwd=repository, env=environment, capture_output=True, text=True)
    assert wrong.returncode == 1
    assert "choose another --out" in wrong.stderr
    assert (tmp_path / "stale_cache.png").stat().st_size > 10_000


def test_a_model_runs_with_an_overlap_and_a_look_ahead_of_its_own(
    prepared: Path, tmp_path: Path, repository: Path
) -> None:
    weights = tmp_path / "model.safetensors"
    save_weights(weights, build("splitformer-two-speed"), TOKENIZER, {})
    command = [sys.executable, "scripts/stale_cache.py", "--data", str(prepared), "--corpus", "dev-tones"]
    command += ["--out", str(tmp_path), "--policies", "fixed"]
    environment = os.environ | {"PYTHONPATH": str(repository)}

    def run(*models: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *models], cwd=repository, env=environment, capture_output=True, text=True, check=False
        )

    done = run(f"plain={weights}", f"wide={weights},overlap=8", f"deaf={weights},overlap=8,look-ahead=0")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "stale_cache.json").read_text())["rows"]
    assert {r["policy"] for r in rows} == {"fixed"}
    costs = {
        name: [r["mean_macs_per_second"] for r in rows if r["encoder"] == name] for name in ("plain", "deaf", "wide")
    }
    assert costs["plain"][0] == costs["deaf"][0] == costs["wide"][0]
    assert costs["plain"][-1] < costs["deaf"][-1] < costs["wide"][-1]
    assert "expected NAME=CHECKPOINT" in run(f"plain={weights},overlap=few").stderr
    assert "allowed: fixed, random" in run("--policies", "best", f"plain={weights}").stderr
