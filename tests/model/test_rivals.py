"""Cache-once and offline encoders: padding, patterns of exits, and the papers' sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edge_asr.errors import OptionError
from edge_asr.model.config import ModelConfig
from edge_asr.model.layers import ExitHead
from edge_asr.model.model import AsrModel
from edge_asr.model.registry import ENCODERS, build_encoder

SIZES: dict[str, Any] = {"dim": 16, "heads": 2, "vocabulary": 10, "exits": 3, "history": 24, "branches": (1, 3)}


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_padding_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(architecture=name, phones=4, **SIZES)).double().eval()
    lengths, frames = torch.tensor([50, 31]), torch.randn(2, 50, 16, dtype=torch.float64)
    chunk = None if "offline" in name else 16
    with torch.inference_mode():
        together = encoder(frames, lengths, chunk=chunk)
        alone = encoder(frames[1:, :31], lengths[1:], chunk=chunk)
    assert together.shape == (3, 2, 50, 14)
    assert (together[:, 1, :31] - alone[:, 0]).abs().max() <= 1e-9


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_a_constant_pattern_is_a_fixed_depth(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(architecture=name, phones=4, **SIZES)).double().eval()
    length, frames = torch.tensor([40]), torch.randn(1, 40, 16, dtype=torch.float64)
    chunk = None if "offline" in name else 16
    with torch.inference_mode():
        every = encoder(frames, length, chunk=chunk)
        for exit in (1, 2, 3):
            pattern = torch.full((1, 1 if chunk is None else 3), exit)
            spliced = encoder.spliced(frames, length, pattern, chunk=chunk)
            assert (spliced - every[exit - 1]).abs().max() <= 1e-12


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_streams_can_be_tapped_and_give_the_posteriors(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(architecture=name, feedback=False, phones=4, **SIZES)).double().eval()
    frames, lengths = torch.randn(2, 41, 16, dtype=torch.float64), torch.tensor([41, 30])
    with torch.no_grad(), encoder.tapped() as streams:
        every = encoder(frames, lengths, chunk=None if "offline" in name else 16)
    assert set(streams) == {1, 2, 3}
    heads = [module for module in encoder.modules() if isinstance(module, ExitHead)]
    for number, head in enumerate(heads, 1):
        assert streams[number].shape == (2, 41, 16)
        for i, length in enumerate((41, 30)):
            assert (head(streams[number])[1] - every[number - 1])[i, :length].abs().max() <= 1e-9
    assert encoder._taps is None


def test_only_the_convolution_of_cache_once_notices_a_skipped_chunk() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(architecture="splitformer-cache-once", **SIZES)).double().eval()
    length, frames = torch.tensor([112]), torch.randn(1, 112, 16, dtype=torch.float64)
    with torch.inference_mode():
        a = encoder.spliced(frames, length, torch.tensor([[3, 3, 3, 3, 3, 3, 3]]))
        b = encoder.spliced(frames, length, torch.tensor([[3, 1, 3, 3, 3, 3, 3]]))
    assert (a - b)[:, 32:48].abs().max() > 1e-9
    # Four layers of nine causal taps, and one at half rate: 64 frames later it is forgotten.
    assert (a - b)[:, 32 + 64 :].abs().max() <= 1e-12


@pytest.mark.parametrize("overlap", [0, 8])
def test_a_late_cache_is_never_stale_either(overlap: int) -> None:
    torch.manual_seed(0)
    config = ModelConfig(architecture="splitformer-two-speed-late", overlap=overlap, **SIZES)
    encoder = build_encoder(config).double().eval()
    length, frames = torch.tensor([80]), torch.randn(1, 80, 16, dtype=torch.float64)
    with torch.inference_mode():
        every = encoder(frames, length)
        spliced = encoder.spliced(frames, length, torch.tensor([[3, 1, 2, 3, 1]]))
    for n, exit in enumerate((3, 1, 2, 3, 1)):
        assert torch.equal(spliced[:, 16 * n : 16 * n + 16], every[exit - 1, :, 16 * n : 16 * n + 16])


@pytest.mark.parametrize("option", [{"slow": (2,)}, {"shared_output": True}])
def test_options_of_the_default_are_refused_elsewhere(option: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(option))):
        ModelConfig(architecture="splitformer-stale", **(SIZES | option))
    with pytest.raises(OptionError, match="slow"):
        ModelConfig(slow=(6,))


@pytest.mark.parametrize(("branches", "millions"), [((), 31.5), ((1, 6), 36.7)])
def test_parameter_counts_at_the_papers_sizes(branches: tuple[int, ...], millions: float) -> None:
    config = ModelConfig(
        architecture="splitformer-offline", dim=256, heads=8, expansion=8, kernel=31, vocabulary=256, branches=branches,
        feedback=False,
    )  # fmt: skip
    count = sum(p.numel() for p in AsrModel(config).parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.03)


def test_offline_means_whole_utterances() -> None:
    encoder = build_encoder(ModelConfig(architecture="splitformer-offline", **SIZES))
    with pytest.raises(OptionError, match="chunk=16"):
        encoder(torch.zeros(1, 20, 16), torch.tensor([20]), chunk=16)
