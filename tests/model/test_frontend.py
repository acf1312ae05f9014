"""The frontend gives the same frames wherever the audio is cut."""

from __future__ import annotations

import torch

from edge_asr.model.config import ModelConfig
from edge_asr.model.frontend import HOP, OVERLAP, Frontend


def test_pieces_give_the_frames_of_the_whole() -> None:
    torch.manual_seed(0)
    frontend = Frontend(ModelConfig(dim=16, heads=2)).eval()
    pcm = torch.randn(2, HOP * 20 + OVERLAP) * 0.1
    with torch.inference_mode():
        whole = frontend(pcm)
        parts = [frontend(pcm[:, HOP * a : HOP * b + OVERLAP]) for a, b in ((0, 1), (1, 9), (9, 12), (12, 20))]
    assert whole.shape == (2, 20, 16)
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def test_normalisation_is_part_of_it() -> None:
    torch.manual_seed(0)
    frontend = Frontend(ModelConfig(dim=16, heads=2)).eval()
    pcm = torch.randn(1, HOP * 4 + OVERLAP) * 0.1
    with torch.inference_mode():
        before = frontend(pcm)
        frontend.subsampling.mean += 1.0
        assert not torch.allclose(frontend(pcm), before)
