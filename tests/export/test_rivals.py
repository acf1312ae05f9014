"""Steps of the rival encoders, chunk by chunk with real caches, against the parallel forward of training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_asr.model.cache_once import CacheOnceSegment, CacheOnceSplitformer
from edge_asr.model.cached import CachedSegment, CachedSplitformer
from edge_asr.model.config import ModelConfig
from edge_asr.model.offline import OfflineSplitformer
from export.rivals import CachedStep, CacheOnceStep, CatchUp, OfflineStep, export_step

CONFIG = ModelConfig(dim=16, heads=2, vocabulary=10, exits=3, history=24, branches=(1, 3))
CHUNK, AHEAD = 16, 8


def run(steps: list[CachedStep], hidden: Tensor, exits: list[int], rule: str) -> Tensor:
    """Log-probabilities of the deepest exit that each chunk came to, zeros where that is the trunk's."""
    total, history = hidden.shape[1], CONFIG.history
    padded = F.pad(hidden, (0, 0, 0, CHUNK + AHEAD))
    caches = [step.zero_state(1) for step in steps]
    seen = [torch.zeros(1, history) for _ in steps]
    out = torch.zeros(1, total, CONFIG.vocabulary)
    for n, start in enumerate(range(0, total, CHUNK)):
        x = padded[:, start : start + CHUNK + AHEAD]
        n_valid = torch.tensor([min(total - start, CHUNK + AHEAD)])
        for i, step in enumerate(steps):
            on = exits[n] >= i + 2
            if on:
                x, log_probs, _, *caches[i] = step(x, n_valid, seen[i], *caches[i])
                out[:, start : start + CHUNK] = log_probs[:, : total - start]
            elif rule == "propagate":
                caches[i] = list(CatchUp(step)(x, n_valid, seen[i], *caches[i]))
            elif rule == "absent":
                caches[i] = [F.pad(t, (0, 0, 0, CHUNK if t.shape[1] == history else 8))[:, -t.shape[1] :]
                             for t in caches[i]]  # fmt: skip
            if on or rule != "stale":
                real = torch.full((1, CHUNK), float(on or rule == "propagate"))
                seen[i] = torch.cat([seen[i], real], dim=1)[:, -history:]
    return out


def check_cached(rule: str) -> None:
    torch.manual_seed(0)
    encoder = CachedSplitformer(CONFIG, rule).eval()
    frames, total = torch.randn(1, 96, 16), 96
    exits = [3, 2, 1, 3, 1, 3]
    steps = [CachedStep(s, CONFIG, CHUNK) for s in encoder.deep if isinstance(s, CachedSegment)]
    with torch.inference_mode():
        want = encoder.spliced(frames, torch.tensor([total]), torch.tensor([exits]), chunk=CHUNK, look_ahead=AHEAD)
        hidden = encoder.trunk(frames, torch.tensor([total]), encoder.trunk.zero_state(1))[0]
        got = run(steps, hidden, exits, rule)
    for n, exit in enumerate(exits):
        if exit > 1:
            part = slice(CHUNK * n, CHUNK * n + CHUNK)
            assert (got[:, part] - want[:, part]).abs().max() <= 1e-4, (rule, n)


def test_chunks_that_left_are_propagated_by_catching_up() -> None:
    check_cached("propagate")


def test_chunks_that_left_are_absent() -> None:
    check_cached("absent")


def test_chunks_that_left_leave_stale_caches() -> None:
    check_cached("stale")


def test_cache_once_at_full_depth() -> None:
    torch.manual_seed(0)
    encoder = CacheOnceSplitformer(CONFIG).eval()
    frames, total, history = torch.randn(1, 64, 16), 64, CONFIG.history
    steps = [CacheOnceStep(s, CONFIG, CHUNK) for s in encoder.deep if isinstance(s, CacheOnceSegment)]
    states = [step.zero_state(1) for step in steps]
    with torch.inference_mode():
        want = encoder(frames, torch.tensor([total]), chunk=CHUNK, look_ahead=AHEAD)[-1]
        hidden, memory, _, _ = encoder.trunk(frames, torch.tensor([total]), encoder.trunk.zero_state(1))
        memory = F.pad(memory, (0, 0, history, AHEAD))
        for start in range(0, total, CHUNK):
            x, window = hidden[:, start : start + CHUNK], memory[:, start : start + history + CHUNK + AHEAD]
            left, right = torch.tensor([min(start, history)]), torch.tensor([min(AHEAD, total - start - CHUNK)])
            for i, step in enumerate(steps):
                x, log_probs, _, *states[i] = step(x, window, torch.tensor([CHUNK]), left, right, *states[i])
            assert (log_probs - want[:, start : start + CHUNK]).abs().max() <= 1e-4


def test_offline_segments_one_after_another() -> None:
    torch.manual_seed(0)
    encoder = OfflineSplitformer(CONFIG).eval()
    frames, length = torch.randn(1, 40, 16), torch.tensor([40])
    with torch.inference_mode():
        want = encoder(frames, length, chunk=None)
        x = frames
        for i, segment in enumerate(encoder.segments):
            assert isinstance(segment, CachedSegment)
            x, log_probs, stats = OfflineStep(segment)(x, length)
            assert (log_probs - want[i]).abs().max() <= 1e-4
            assert stats.shape == (1, 40, 4)


def test_a_step_as_a_graph_gives_what_torch_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    segment = CachedSplitformer(CONFIG, "stale").eval().deep[1]
    assert isinstance(segment, CachedSegment)
    step = CachedStep(segment, CONFIG, CHUNK).eval()
    caches = {f"cache_{i}": torch.randn_like(t) for i, t in enumerate(step.zero_state(1))}
    inputs = {"frames": torch.randn(1, 24, 16), "n_valid": torch.tensor([21]), "seen": torch.ones(1, 24), **caches}
    modules: list[tuple[torch.nn.Module, Callable[..., tuple[Tensor, ...]]]] = [
        (step, step),
        (CatchUp(step), CatchUp(step)),
    ]
    for number, (module, call) in enumerate(modules):
        export_step(tmp_path / f"{number}.onnx", module, inputs)
        session = onnxruntime.InferenceSession(str(tmp_path / f"{number}.onnx"))
        wanted = {value.name for value in session.get_inputs()}
        got = session.run(None, {name: t.numpy() for name, t in inputs.items() if name in wanted})
        with torch.inference_mode():
            want = call(*inputs.values())
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            assert (torch.from_numpy(a) - b).abs().max() <= 1e-4
