"""The central claim in torch: a chunk's result at an exit does not depend on where other chunks left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edge_asr.model.config import ModelConfig
from edge_asr.model.encoder import TwoSpeedSplitformer

CONFIG = ModelConfig(dim=16, heads=2, vocabulary=10, exits=4, history=24, branches=(1, 4))


@pytest.fixture(scope="module", params=["fast", "slow", "shared", "memories", "overlap", "wide", "phones"])
def encoder(request: pytest.FixtureRequest) -> TwoSpeedSplitformer:
    """The default; with segments on 80 ms frames, with a single output layer, with a memory for each layer;
    with windows that overlap; with phones beside word pieces."""
    torch.manual_seed(0)
    changes: dict[str, dict[str, Any]] = {
        "fast": {},
        "slow": {"slow": (2, 3)},
        "shared": {"shared_output": True},
        "memories": {"own_memory": True},
        "overlap": {"overlap": 4},
        "wide": {"overlap": 10, "slow": (3,)},
        "phones": {"phones": 5, "shared_output": True},
    }
    config = replace(CONFIG, **changes[request.param])
    return TwoSpeedSplitformer(config).double().eval()


def run_trunk(encoder: TwoSpeedSplitformer, frames: Tensor, steps: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The trunk in calls of the given sizes: hidden, memory, log-probabilities."""
    state, parts, start = encoder.trunk.zero_state(1, frames), [], 0
    for step in steps:
        piece = frames[:, start : start + step]
        valid = torch.tensor([piece.shape[1]])
        piece = torch.nn.functional.pad(piece, (0, 0, 0, piece.shape[1] % 2))
        hidden, memory, log_probs, state = encoder.trunk(piece, valid, state)
        parts.append([x[:, : int(valid)] for x in (hidden, memory, log_probs)])
        start += step
    assert start >= frames.shape[1]
    hidden, memory, log_probs = (torch.cat(column, dim=1) for column in zip(*parts, strict=True))
    return hidden, memory, log_probs


def run_pattern(
    encoder: TwoSpeedSplitformer, frames: Tensor, chunk: int, ahead: int, exits: list[int], steps: list[int]
) -> Tensor:
    """Chunk by chunk, each to its own exit: the splice (T, V)."""
    hidden, memory, first = run_trunk(encoder, frames, steps)
    total, history = frames.shape[1], CONFIG.history
    parts = []
    for k, start in enumerate(range(0, total, chunk)):
        valid, right = min(chunk, total - start), max(0, min(ahead, total - start - chunk))
        log_probs = first[:, start : start + valid]
        before = min(encoder.config.overlap, start)
        after = min(encoder.config.overlap, ahead - ahead % 2, right)
        left = min(start - before, history)
        size = before + valid + after
        wide = size + size % 2
        x = torch.zeros(1, wide, CONFIG.dim, dtype=frames.dtype)
        x[:, :size] = hidden[:, start - before : start + valid + after]
        window = torch.zeros(1, history + wide + ahead, encoder.config.memory_width, dtype=frames.dtype)
        rows = memory[:, start - before - left : start + valid + right]
        window[:, history - left : history - left + rows.shape[1]] = rows
        counts = [torch.tensor([n]) for n in (size, left, right - after)]
        for segment in encoder.segments()[: exits[k] - 1]:
            x, log_probs = segment(x, window, *counts)
            log_probs = log_probs[:, before : before + valid]
        parts.append(log_probs[0, :valid])
    return torch.cat(parts)


@settings(max_examples=60)
@given(st.data())
def test_chunk_by_chunk_equals_a_gather_from_the_parallel_forward(
    encoder: TwoSpeedSplitformer, data: st.DataObject
) -> None:
    chunk, ahead = data.draw(st.sampled_from([8, 16, 32])), data.draw(st.sampled_from([0, 3, 8, 16]))
    total = data.draw(st.integers(1, 90))
    count = -(-total // chunk)
    exits = data.draw(st.lists(st.integers(1, CONFIG.exits), min_size=count, max_size=count))
    steps = []
    while sum(steps) < total:
        steps.append(data.draw(st.sampled_from([2, 4, 8, 16, 30])))
    rng = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    frames = torch.randn(1, total, CONFIG.dim, dtype=torch.float64, generator=rng)
    with torch.inference_mode():
        parallel = encoder(frames, torch.tensor([total]), chunk=chunk, look_ahead=ahead)[:, 0]
        serial = run_pattern(encoder, frames, chunk, ahead, exits, steps)
    choice = np.repeat(exits, chunk)[:total] - 1
    gathered = parallel[torch.from_numpy(choice), torch.arange(total)]
    assert (serial - gathered).abs().max() <= 1e-9


@pytest.mark.parametrize("chunk", [8, 16, None])
def test_padding_and_neighbours_in_a_batch_change_nothing(encoder: TwoSpeedSplitformer, chunk: int | None) -> None:
    torch.manual_seed(1)
    lengths = torch.tensor([57, 90, 1])
    frames = torch.randn(3, 90, CONFIG.dim, dtype=torch.float64)
    with torch.inference_mode():
        together = encoder(frames, lengths, chunk=chunk)
        for i, length in enumerate(lengths.tolist()):
            alone = encoder(frames[i : i + 1, :length], lengths[i : i + 1], chunk=chunk)
            assert (together[:, i, :length] - alone[:, 0]).abs().max() <= 1e-9


def test_history_look_ahead_and_chunk_are_used(encoder: TwoSpeedSplitformer) -> None:
    """What a chunk may see changes it; what it may not see does not."""
    torch.manual_seed(2)
    frames = torch.randn(1, 64, CONFIG.dim, dtype=torch.float64)
    length = torch.tensor([64])

    def changed(at: int) -> Tensor:
        other = frames.clone()
        other[:, at] += torch.linspace(-1, 2, CONFIG.dim)
        with torch.inference_mode():
            a = encoder(frames, length, chunk=16, look_ahead=8)[1:, 0]
            b = encoder(other, length, chunk=16, look_ahead=8)[1:, 0]
        return (a - b).abs().amax(dim=(0, 2)) > 1e-12

    assert changed(16 + 16 + 7)[16:32].all()  # the last look-ahead frame of chunk 1
    assert not changed(16 + 16 + 8)[:32].any()  # one further: unseen
    assert changed(20)[16:32].all()  # inside the chunk, both ways
    assert changed(15)[16:32].all()  # just before it


@pytest.mark.parametrize("slow", [(), (2, 3)])
def test_outputs_are_distributions_and_gradients_reach_everything(slow: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    encoder = TwoSpeedSplitformer(replace(CONFIG, slow=slow))
    out = encoder(torch.randn(2, 40, CONFIG.dim), torch.tensor([40, 23]), chunk=16, look_ahead=8)
    assert out.shape == (CONFIG.exits, 2, 40, CONFIG.vocabulary)
    assert torch.allclose(out[:, 0].exp().sum(dim=-1), torch.ones(CONFIG.exits, 40), atol=1e-5)
    out[..., 3].sum().backward()
    missing = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == []


def test_a_slow_segment_keeps_what_differs_inside_a_pair() -> None:
    torch.manual_seed(0)
    encoder = TwoSpeedSplitformer(replace(CONFIG, slow=(2, 3), feedback=False)).eval()
    with torch.inference_mode(), encoder.tapped() as streams:
        encoder(torch.randn(1, 32, CONFIG.dim), torch.tensor([32]))
    inside = {number: x[:, 0::2] - x[:, 1::2] for number, x in streams.items()}
    assert torch.allclose(inside[1], inside[2], atol=1e-5)
    assert torch.allclose(inside[2], inside[3], atol=1e-5)
    assert not torch.allclose(inside[3], inside[4], atol=1e-2)
    means = {number: x[:, 0::2] + x[:, 1::2] for number, x in streams.items()}
    assert not torch.allclose(means[1], means[2], atol=1e-2)


def test_one_output_layer_is_one_parameter() -> None:
    counts = [
        sum(p.numel() for p in TwoSpeedSplitformer(replace(CONFIG, shared_output=s)).parameters())
        for s in (False, True)
    ]
    assert counts[0] - counts[1] == (CONFIG.exits - 1) * (CONFIG.dim + 1) * CONFIG.vocabulary


def test_each_exit_has_phones_of_its_own() -> None:
    torch.manual_seed(0)
    encoder = TwoSpeedSplitformer(replace(CONFIG, phones=5, shared_output=True))
    out = encoder(torch.randn(2, 40, CONFIG.dim), torch.tensor([40, 23]), chunk=16, look_ahead=8)
    assert out.shape == (CONFIG.exits, 2, 40, CONFIG.vocabulary + 5)
    assert torch.allclose(out[:, 0].exp().sum(dim=-1), torch.full((CONFIG.exits, 40), 2.0), atol=1e-5)
    out[..., CONFIG.vocabulary + 2].sum().backward()
    heads = [name for name, p in encoder.named_parameters() if ".exit.phones." in name and p.grad is not None]
    assert len(heads) == 4 * CONFIG.exits


def test_depth_stops_early(encoder: TwoSpeedSplitformer) -> None:
    frames, length = torch.randn(1, 20, CONFIG.dim, dtype=torch.float64), torch.tensor([20])
    with torch.inference_mode():
        assert torch.equal(encoder(frames, length, depth=2), encoder(frames, length)[:2])


def test_bfloat16_autocast_stays_near_float32() -> None:
    """What a GPU, or a CPU with native bfloat16, computes in training."""
    torch.manual_seed(0)
    encoder = TwoSpeedSplitformer(CONFIG)
    frames, lengths = torch.randn(2, 50, CONFIG.dim), torch.tensor([50, 31])
    exact = encoder(frames, lengths, chunk=16, look_ahead=8)
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(frames, lengths, chunk=16, look_ahead=8)
    assert half.dtype == torch.float32
    assert (half.exp() - exact.exp())[:, 0].abs().max() < 0.02
    half[..., 2].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)
