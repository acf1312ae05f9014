"""Rival encoders: chunk by chunk with real caches, against their parallel forward under any pattern of exits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from edge_asr.model.cache_once import CacheOnceSplitformer
from edge_asr.model.cached import CachedLayer, CachedSegment, CachedSplitformer
from edge_asr.model.config import ModelConfig
from edge_asr.model.encoder import TwoSpeedSplitformer
from edge_asr.model.layers import MASKED, double, halve, places, rotary, rotate

CONFIG = ModelConfig(dim=16, heads=2, vocabulary=10, exits=3, history=24, branches=(1, 3))


class LayerCache:
    """Keys, values and convolution inputs of one layer, as a streaming runtime would keep them."""

    def __init__(self, history: int, dim: int, kernel: int) -> None:
        self.history, self.halo = history, kernel // 2
        self.k = self.v = torch.zeros(1, 0, dim, dtype=torch.float64)
        self.seen = torch.zeros(0, dtype=torch.bool)
        self.conv = torch.zeros(1, self.halo, dim, dtype=torch.float64)

    def remember(self, k: Tensor, v: Tensor, normed: Tensor, real: Tensor) -> None:
        self.k = torch.cat([self.k, k], dim=1)[:, -self.history :]
        self.v = torch.cat([self.v, v], dim=1)[:, -self.history :]
        self.seen = torch.cat([self.seen, real])[-self.history :]
        self.conv = torch.cat([self.conv, normed], dim=1)[:, -self.halo :]


def step_layer(
    layer: CachedLayer, cache: LayerCache, x: Tensor, real: Tensor, size: int, skip: str, on: bool
) -> Tensor:
    """One block through one layer; what enters the cache depends on the rule."""
    start = x
    x = x + 0.5 * layer.half1(x)
    q, k, v = layer.attention.project(x)
    past = cache.k.shape[1]
    rope = rotary(places(past + x.shape[1], x), layer.attention.head_dim)
    split = layer.attention.split
    keys, values = torch.cat([cache.k, k], dim=1), torch.cat([cache.v, v], dim=1)
    mask = torch.where(torch.cat([cache.seen, real]), 0.0, MASKED)[None, None, None]
    y = layer.attention(
        rotate(split(q), (rope[0][past:], rope[1][past:])), rotate(split(keys), rope), split(values), mask
    )
    x = x + y
    normed = layer.convolution.norm(x) * real[None, :, None]
    x = x + layer.convolution(F.pad(torch.cat([cache.conv, normed], dim=1), (0, 0, 0, cache.halo)))
    x = layer.norm(x + 0.5 * layer.half2(x))
    if on or skip == "propagate":
        cache.remember(k[:, :size], v[:, :size], normed[:, :size], real[:size])
    elif skip == "absent":
        gap = torch.zeros_like(k[:, :size])
        cache.remember(gap, gap, gap, torch.zeros(size, dtype=torch.bool))
    return x if on else start


def run_stream(encoder: CachedSplitformer, frames: Tensor, exits: list[int], chunk: int, ahead: int) -> Tensor:
    total, c = frames.shape[1], CONFIG
    padded = F.pad(frames, (0, 0, 0, total % 2))
    hidden, _, first, _ = encoder.trunk(padded, torch.tensor([total]), encoder.trunk.zero_state(1, frames))
    caches: dict[object, LayerCache] = {}
    out = []
    for n, start in enumerate(range(0, total, chunk)):
        valid = min(chunk, total - start)
        x = torch.zeros(1, chunk + ahead, c.dim, dtype=frames.dtype)
        rows = hidden[:, start : min(start + chunk + ahead, total)]
        x[:, : rows.shape[1]] = rows
        real = torch.arange(chunk + ahead) < rows.shape[1]
        log_probs = first[:, start : start + valid]
        for number, segment in enumerate(encoder.deep, 2):
            assert isinstance(segment, CachedSegment)
            on, entry = exits[n] >= number, x
            if not on and encoder.skip == "stale":
                continue  # the runtime never calls the segment
            for layer in segment.layers:
                cache = caches.setdefault(layer, LayerCache(c.history, c.dim, c.kernel))
                x = step_layer(layer, cache, x, real, chunk, encoder.skip, on)
            if segment.branch is not None:
                cache = caches.setdefault(segment.branch, LayerCache(c.history // 2, c.dim, c.kernel))
                pairs = halve(entry * real[None, :, None])
                y = step_layer(segment.branch, cache, pairs, real[0::2], chunk // 2, encoder.skip, on)
                x = x + double(y) if on else x
            if on:
                x, all_log_probs = segment.exit(x)
                log_probs = all_log_probs[:, :valid]
        out.append(log_probs[0])
    return torch.cat(out)


@pytest.fixture(scope="module", params=["propagate", "absent", "stale"])
def encoder(request: pytest.FixtureRequest) -> CachedSplitformer:
    torch.manual_seed(0)
    return CachedSplitformer(CONFIG, request.param).double().eval()


@settings(max_examples=40)
@given(st.data())
def test_chunk_by_chunk_equals_the_parallel_forward(encoder: CachedSplitformer, data: st.DataObject) -> None:
    chunk, ahead = data.draw(st.sampled_from([8, 16])), data.draw(st.sampled_from([0, 4, 8]))
    total = data.draw(st.integers(1, 80))
    count = -(-total // chunk)
    exits = data.draw(st.lists(st.integers(1, CONFIG.exits), min_size=count, max_size=count))
    rng = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    frames = torch.randn(1, total, CONFIG.dim, dtype=torch.float64, generator=rng)
    with torch.inference_mode():
        parallel = encoder.spliced(frames, torch.tensor([total]), torch.tensor([exits]), chunk=chunk, look_ahead=ahead)
        serial = run_stream(encoder, frames, exits, chunk, ahead)
    assert (parallel[0] - serial).abs().max() <= 1e-9


def test_full_depth_does_not_depend_on_the_rule() -> None:
    outs = []
    for skip in ("propagate", "absent", "stale"):
        torch.manual_seed(0)
        encoder = CachedSplitformer(CONFIG, skip).eval()
        with torch.inference_mode():
            outs.append(encoder(torch.ones(1, 60, 16).cumsum(1).sin(), torch.tensor([60]), chunk=16, look_ahead=8))
    assert torch.equal(outs[0], outs[1])
    assert torch.equal(outs[0], outs[2])


def test_a_skipped_chunk_changes_later_ones_unlike_in_pure_segments(encoder: CachedSplitformer) -> None:
    torch.manual_seed(1)
    frames, length = torch.randn(1, 48, CONFIG.dim, dtype=torch.float64), torch.tensor([48])
    with torch.inference_mode():
        a = encoder.spliced(frames, length, torch.tensor([[3, 3, 3]]))
        b = encoder.spliced(frames, length, torch.tensor([[3, 1, 3]]))
    assert (a[:, :16] - b[:, :16]).abs().max() == 0
    assert (a[:, 32:] - b[:, 32:]).abs().max() > 1e-6


def test_weights_move_between_encoders() -> None:
    """Arms of the comparison are branched from one run: the parameters have the same names and shapes."""
    two_speed = TwoSpeedSplitformer(CONFIG)
    for other in (CachedSplitformer(CONFIG, "absent"), CacheOnceSplitformer(CONFIG)):
        other.load_state_dict(two_speed.state_dict())
