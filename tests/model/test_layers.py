"""Stats of an exit, its two heads, resampling by two, rotary embeddings, dropout, and convolution in training."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from edge_asr.model.layers import Convolution, Dropout, ExitHead, double, exit_stats, halve, places, rotary, rotate


def test_stats_of_known_distributions() -> None:
    probs = torch.tensor([[[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.2, 1e-30]]])
    stats = exit_stats(probs.log())[0]
    assert torch.allclose(stats[0], torch.tensor([math.log(4), 0.25, 0.0, 0.25]), atol=1e-6)
    entropy = -sum(p * math.log(p) for p in (0.7, 0.1, 0.2))
    assert torch.allclose(stats[1], torch.tensor([entropy, 0.7, 0.5, 0.7]), atol=1e-6)


@pytest.mark.parametrize("feedback", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_phones_change_nothing_else(dtype: torch.dtype, feedback: bool) -> None:
    torch.manual_seed(0)
    both, plain = ExitHead(16, 10, feedback, phones=5).to(dtype), ExitHead(16, 10, feedback).to(dtype)
    assert plain.phones is None
    unknown = plain.load_state_dict(both.state_dict(), strict=False)
    assert unknown.missing_keys == []
    assert all(name.startswith("phones.") for name in unknown.unexpected_keys)
    x = torch.randn(2, 7, 16, dtype=dtype)
    stream, log_probs = both(x)
    alone, pieces = plain(x)
    assert torch.equal(stream, alone)
    assert torch.equal(log_probs[..., :10], pieces)
    assert log_probs.shape == (2, 7, 15)
    assert log_probs.dtype == torch.float32
    for part in log_probs.split([10, 5], dim=-1):
        assert torch.allclose(part.exp().sum(dim=-1), torch.ones(2, 7), atol=1e-5)
    # They are read from the stream with the feedback in it.
    assert both.phones is not None
    assert torch.equal(log_probs[..., 10:], both.phones(stream).float().log_softmax(dim=-1))


def test_halve_and_double() -> None:
    x = torch.arange(8.0).reshape(1, 8, 1)
    assert double(halve(x)).flatten().tolist() == [0.5, 0.5, 2.5, 2.5, 4.5, 4.5, 6.5, 6.5]


def test_rotated_products_depend_on_distance_only() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 1, 8, dtype=torch.float64), torch.randn(1, 1, 1, 8, dtype=torch.float64)
    at = places(50, q)

    def product(i: int, j: int) -> float:
        a, b = rotate(q, rotary(at[i : i + 1], 8)), rotate(k, rotary(at[j : j + 1], 8))
        return float((a * b).sum())

    assert math.isclose(product(3, 10), product(33, 40), rel_tol=1e-9)
    assert not math.isclose(product(3, 10), product(3, 12), rel_tol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_zeroes_its_share_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    x = torch.ones(400, 500, dtype=dtype, requires_grad=True)
    out = Dropout(p)(x)
    dropped = float((out == 0).float().mean())
    assert dropped == pytest.approx(p, abs=0.01)
    assert float(out.detach().float().mean()) == pytest.approx(1, abs=0.02 / (1 - p))
    # No row and no column is dropped more than another.
    for axis in (0, 1):
        assert float(((out == 0).float().mean(dim=axis) - p).abs().max()) < 0.12
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, out.detach())


def test_dropout_draws_anew_each_time_and_only_in_training() -> None:
    module, x = Dropout(0.3), torch.ones(1000)
    outs = [module(x) for _ in range(2 * Dropout.READS)]
    assert all(not torch.equal(a, b) for a, b in pairwise(outs))
    assert torch.equal(module.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.isfinite(Dropout(0.9999)(x)).all()


def test_dropout_of_more_values_than_its_strip_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dropout, "LENGTH", 64)
    monkeypatch.setattr(Dropout, "_strips", {})
    for count in (1, 63, 64, 65, 1000, 0):
        assert Dropout(0.5)(torch.ones(count)).shape == (count,)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_convolution_in_training_is_the_one_that_is_exported(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module, padded = Convolution(16, 9, 0.0).to(dtype), torch.randn(3, 24 + 8, 16, dtype=dtype)
    results = []
    for training in (True, False):
        x = padded.clone().requires_grad_()
        out = module.train(training)(x)
        gradients = torch.autograd.grad(out.square().sum(), [x, *module.parameters()], allow_unused=True)
        results.append([out, *(g for g in gradients if g is not None)])
    assert results[0][0].shape == (3, 24, 16)
    assert len(results[0]) == 8  # all but the norm's two, which the caller applies
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-4
    for trained, exported in zip(*results, strict=True):
        torch.testing.assert_close(trained, exported, rtol=tolerance, atol=tolerance)
