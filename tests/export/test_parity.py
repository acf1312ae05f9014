"""Exported graphs against torch: the same posteriors, whatever the pattern of exits, and a bad export is refused."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
import torch

from edge_asr.bundle.bundle import Bundle
from edge_asr.errors import DataError
from edge_asr.exits.stats import ChunkInfo
from edge_asr.exits.view import ExitView
from edge_asr.model.model import two_speed
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.onnx_engine import OnnxEngine
from edge_asr.training.weights import load_weights
from export import parity
from export.parity import INT8_TOLERANCE, TOKEN_TOLERANCE, check_parity, compare, runtime_log_probs, torch_log_probs
from tests.export.conftest import Exported


@dataclass
class Pattern:
    """A policy that takes a given exit for each chunk."""

    exits: npt.NDArray[np.int64]

    def stop(self, view: ExitView, chunk: ChunkInfo) -> bool:
        return view.exit >= self.exits[chunk.index]


@pytest.fixture(scope="module")
def speech(samples: Path) -> npt.NDArray[np.float32]:
    pcm, rate = sf.read(min(samples.glob("*.flac")), dtype="float32")
    assert rate == 16_000
    return np.ascontiguousarray(pcm[: 16_000 * 4 + 123])


@pytest.mark.parametrize("chunk", [8, 16, 32, None])
def test_float_graphs_are_the_parallel_forward(
    exported: Exported, speech: npt.NDArray[np.float32], chunk: int | None
) -> None:
    bundle = Bundle.load(exported.bundle)
    ours = runtime_log_probs(bundle, OnnxEngine(bundle, "float32"), speech, chunk)
    reference = torch_log_probs(exported.model, speech, bundle.spec.encoder.tail_frames, chunk, 8)
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= 1e-4


def test_a_thousand_random_exit_patterns_are_gathers(exported: Exported, speech: npt.NDArray[np.float32]) -> None:
    bundle = Bundle.load(exported.bundle)
    engine = OnnxEngine(bundle, "float32")
    rng = np.random.default_rng(0)
    references = {c: torch_log_probs(exported.model, speech, 8, c, 8) for c in (8, 16, 32)}
    worst = 0.0
    for number in range(1000):
        chunk = (8, 16, 32)[number % 3]
        reference = references[chunk]
        total = reference.shape[1]
        pattern = rng.integers(1, bundle.spec.encoder.exits + 1, -(-total // chunk))
        stream = EncoderStream(bundle, engine, Pattern(pattern), chunk_frames=chunk)
        decided = stream.push(speech) + stream.flush()
        assert [c.exit for c in decided] == pattern.tolist()
        splice = np.concatenate([c.log_probs for c in decided])
        gathered = reference[np.repeat(pattern, chunk)[:total] - 1, np.arange(total)]
        worst = max(worst, float(np.abs(splice - gathered).max()))
    assert worst <= 1e-4


def test_int8_stays_near_float(exported: Exported, speech: npt.NDArray[np.float32]) -> None:
    results = {(p.precision, p.chunk): p for p in check_parity(exported.model, exported.bundle, speech)}
    assert set(results) == {(p, c) for p in ("int8", "float32") for c in (16, None)}
    assert results["float32", 16].largest < 1e-4
    assert results["int8", 16].largest > 1e-4  # it really is int8 that ran
    assert results["int8", 16].variation < 0.08


def without_every_fifth_token(log_probs: npt.NDArray[np.float32], vocabulary: int) -> npt.NDArray[np.float32]:
    """(exits, T, V + P) in which every fifth spike of a word piece is blank."""
    lossy = log_probs.copy()
    for rows in lossy:
        best = rows[:, :vocabulary].argmax(axis=1)
        begins = np.flatnonzero((best != 0) & (best != np.concatenate([[0], best[:-1]])))
        for start in begins[4::5]:
            stop = start + next((n for n, token in enumerate(best[start:]) if token != best[start]), len(best) - start)
            for row in rows[start:stop]:
                row[[0, best[start]]] = row[[best[start], 0]]
    return lossy


def test_lost_tokens_are_seen_in_the_shipped_model(
    repository: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repository / "edge_asr" / "models" / "en-tiny"
    bundle, model = Bundle.load(path), load_weights(repository / "models" / "en-tiny.safetensors")[0]
    model.overlapping(bundle.spec.encoder.overlap)
    pcm, _ = sf.read(min(samples.glob("*.flac")), dtype="float32")
    results = check_parity(model, path, pcm)
    assert max(p.token_errors for p in results) < 0.8 * TOKEN_TOLERANCE  # met with room

    ours, vocabulary = parity.runtime_log_probs, bundle.spec.tokens.size
    monkeypatch.setattr(parity, "runtime_log_probs", lambda *a: without_every_fifth_token(ours(*a), vocabulary))
    lossy = parity.runtime_log_probs(bundle, OnnxEngine(bundle, "int8"), pcm, 16)
    result = compare("int8", 16, lossy, torch_log_probs(model, pcm, 8, 16, 8), vocabulary)
    assert result.variation < INT8_TOLERANCE  # the mean over all frames doesn't show it
    assert result.token_errors > TOKEN_TOLERANCE
    with pytest.raises(DataError, match=r"parity, int8: .* of greedy tokens differ; allowed: 15%"):
        check_parity(model, path, pcm)


def test_stats_in_the_graph_are_those_of_its_log_probabilities(
    exported: Exported, speech: npt.NDArray[np.float32]
) -> None:
    bundle = Bundle.load(exported.bundle)
    engine = OnnxEngine(bundle, "int8")
    stream = EncoderStream(bundle, engine, Pattern(np.full(99, 3)), chunk_frames=16, all_exits=True)
    for chunk in stream.push(speech) + stream.flush():
        assert chunk.all_log_probs is not None
        for log_probs, stats in zip(chunk.all_log_probs, chunk.stats, strict=True):
            probs = np.exp(log_probs.astype(np.float64))
            top = np.sort(probs, axis=-1)
            assert stats.entropy == pytest.approx(-(probs * log_probs).sum(axis=-1).mean(), abs=1e-4)
            assert stats.max_posterior == pytest.approx(top[:, -1].mean(), abs=1e-5)
            assert stats.margin == pytest.approx((top[:, -1] - top[:, -2]).mean(), abs=1e-5)
            assert stats.blank == pytest.approx(probs[:, 0].mean(), abs=1e-5)


def test_a_bundle_that_differs_from_torch_is_refused(
    exported: Exported, speech: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    shutil.copytree(exported.bundle, tmp_path / "copy")
    other = type(exported.model)(exported.model.config)
    other.load_state_dict(exported.model.state_dict())
    with torch.no_grad():
        two_speed(other).segments()[0].layers[0].half1.up.weight *= 1.5
    with pytest.raises(DataError, match="parity"):
        check_parity(other.eval(), tmp_path / "copy", speech)
