"""Augmentation does what its options say, and repeats with its generator."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from edge_asr.model.logmel import LOG_FLOOR
from edge_asr.training.config import AugmentConfig
from edge_asr.training.data.augment import DB, Augmenter, gain_curve, paced, warped

MEAN = np.full(80, -7.0, dtype=np.float32)
NOTHING = AugmentConfig(
    gain_db=0, noise_probability=0, bandwidth_probability=0, frequency_masks=0, time_masks=0, tail_frames=0
)


def mels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(-5, 2, (300, 80)).astype(np.float32))


def test_nothing_asked_nothing_done() -> None:
    assert torch.equal(Augmenter(NOTHING, MEAN, None)(mels(), np.random.default_rng(0)), mels())


def test_the_same_generator_gives_the_same() -> None:
    noise = np.random.default_rng(1).normal(-6, 1, (500, 80)).astype(np.float16)
    augment = Augmenter(AugmentConfig(noise_probability=1.0), MEAN, noise)
    a, b, c = (augment(mels(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_the_original_is_left_alone() -> None:
    original = mels()
    Augmenter(AugmentConfig(), MEAN, None)(original, np.random.default_rng(0))
    assert torch.equal(original, mels())


@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
def test_noise_has_the_ratio_asked_for(snr: float) -> None:
    config = dataclasses.replace(NOTHING, noise_probability=1.0, snr_db=(snr, snr))
    noise = np.random.default_rng(1).normal(-6, 1, (200, 80)).astype(np.float16)
    mixed = Augmenter(config, MEAN, noise)(mels(), np.random.default_rng(0))
    added = (mixed.exp() - mels().exp()).mean()
    assert 10 * math.log10(float(mels().exp().mean() / added)) == pytest.approx(snr, abs=0.2)


def test_an_equalizer_is_one_curve_for_all_frames_and_within_its_bounds() -> None:
    config = dataclasses.replace(NOTHING, equalize_db=6.0)
    curves = []
    for seed in range(20):
        added = (Augmenter(config, MEAN, None)(mels(), np.random.default_rng(seed)) - mels()) / DB
        assert torch.allclose(added, added[:1].expand_as(added), atol=1e-4)
        assert float(added.abs().max()) <= 6.0 + 1e-4
        curves.append(added[0])
    assert float(torch.stack(curves).std(dim=0).min()) > 1
    assert torch.equal(gain_curve(3, np.array([7.0, 9.0]), np.array([1.0, 2.0])), torch.ones(3))


def test_masks_are_the_mean_and_within_their_widths() -> None:
    config = dataclasses.replace(NOTHING, frequency_masks=1, frequency_width=10, time_masks=1, time_width=40)
    for seed in range(20):
        out = Augmenter(config, MEAN, None)(mels(), np.random.default_rng(seed))
        changed = out != mels()
        assert torch.all(out[changed] == -7.0)
        assert int(changed.all(dim=0).sum()) <= 10
        assert int(changed.all(dim=1).sum()) <= 30  # a tenth of 300 rows


def test_gain_shifts_everything_but_stays_above_the_floor() -> None:
    config = dataclasses.replace(NOTHING, gain_db=10.0)
    out = Augmenter(config, MEAN, None)(mels(), np.random.default_rng(3))
    shift = (out - mels())[mels() > -10]
    assert shift.std() < 1e-4
    assert abs(float(shift.mean())) <= math.log(10)
    assert out.min() >= LOG_FLOOR


@pytest.mark.parametrize("share", [0.12, -0.12])
def test_a_peak_moves_with_the_mel_axis(share: float) -> None:
    x = -torch.abs(torch.arange(80.0) - 50)[None].repeat(3, 1)
    moved = warped(x, share)
    assert moved.argmax(dim=1).tolist() == [round(50 * (1 + share))] * 3
    assert torch.equal(moved[:, 0], x[:, 0])
    augment = Augmenter(dataclasses.replace(NOTHING, frequency_warp=0.12), MEAN, None)
    places = {int(augment(x, np.random.default_rng(seed))[0].argmax()) for seed in range(40)}
    assert min(places) >= 44
    assert max(places) <= 56
    assert len(places) > 6


@pytest.mark.parametrize("pace", [0.8, 1.25])
def test_pace_moves_what_is_there(pace: float) -> None:
    x = torch.zeros(200, 3)
    x[100] = 1.0
    y = paced(x, pace)
    assert len(y) == round(200 / pace)
    assert int(y[:, 0].argmax()) == round(100 / pace)
