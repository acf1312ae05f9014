"""An update in bfloat16 against one in float32, for every encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge_asr.errors import DataError, OptionError
from edge_asr.model.model import AsrModel
from edge_asr.model.registry import ENCODERS
from edge_asr.training.config import Phase, TrainConfig
from edge_asr.training.estimate import noise_batch
from edge_asr.training.learner import Learner


def learner(architecture: str, precision: str) -> Learner:
    whole = architecture == "splitformer-offline"
    config = TrainConfig.from_dict(
        {
            "name": "x",
            "model": {
                "architecture": architecture,
                "vocabulary": 32,
                "dim": 32,
                "heads": 2,
                "exits": 3,
                "phones": 7,
                "branches": [1, 3],
            },
            "optim": {
                "steps": 3,
                "optimizer": "muon",
                "precision": precision,
                "chunks": {0: 1.0} if whole else {16: 1.0},
                "look_ahead": {8: 1.0},
                "phones": 0.3,
            },
            "phases": [{"until": 1.0, "splice": 0.0 if whole else 0.1}],
        }
    )
    torch.manual_seed(0)
    return Learner(config, AsrModel(config.model), torch.device("cpu"))


@pytest.mark.parametrize("architecture", sorted(ENCODERS))
def test_an_update_in_bfloat16_is_near_one_in_float32(architecture: str) -> None:
    half, exact = learner(architecture, "bfloat16"), learner(architecture, "float32")
    batch = noise_batch(exact.config, 24, 3, np.random.default_rng(0))
    before = {name: p.clone() for name, p in exact.trained.named_parameters()}
    rows = [each.update(each.config.phases[0], batch, 0.0) for each in (half, exact)]
    assert rows[0]["losses"] == pytest.approx(rows[1]["losses"], rel=0.01)
    assert rows[0]["phones"] == pytest.approx(rows[1]["phones"], rel=0.01)
    assert rows[0]["norm"] == pytest.approx(rows[1]["norm"], rel=0.05)
    assert all(p.dtype == torch.bfloat16 for p in half.working.parameters())
    assert exact.working is exact.trained
    gradients = [
        torch.cat([p.grad.flatten() for p in x.trained.parameters() if p.grad is not None]) for x in (half, exact)
    ]
    assert gradients[0].dtype == torch.float32
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
    for name, p in half.trained.named_parameters():
        assert p.dtype == torch.float32
        if p.grad is not None and p.grad.abs().max() > 0:
            assert not torch.equal(p, before[name]), name


def test_a_batch_under_a_pattern_of_exits_is_not_asked_for_phones() -> None:
    exact = learner("splitformer-two-speed", "float32")
    batch = noise_batch(exact.config, 12, 3, np.random.default_rng(0))
    rows = [exact.update(Phase(patterns=p), batch, 0.0) for p in (1.0, 0.0)]
    assert rows[0]["phones"] == 0
    assert rows[1]["phones"] > 0


def test_many_small_updates_are_not_lost_in_bfloat16() -> None:
    """Steps below bfloat16's resolution add up, as the weights themselves are float32."""
    half = learner("splitformer-two-speed", "bfloat16")
    weight = half.trained.get_parameter("model.encoder.trunk.layers.0.half1.up.weight")
    start = weight.detach().clone()
    batch = noise_batch(half.config, 12, 3, np.random.default_rng(0))
    for optimizer, _ in half.optimizers:
        for group in optimizer.param_groups:
            group["weight_decay"] = 0.0
    half.optimizers = [(optimizer, 1e-4) for optimizer, _ in half.optimizers]
    for _ in range(3):
        half.update(half.config.phases[0], batch, 0.0)
    moved = (weight.detach() - start).abs()
    assert 0 < moved.max() < 1e-3
    assert (moved > 0).float().mean() > 0.9


def test_the_working_copy_has_a_saved_state_s_buffers() -> None:
    """The frontend's mean and deviation are not parameters, and may be others than the store's of now."""
    saved, resumed = (learner("splitformer-two-speed", "bfloat16") for _ in range(2))
    saved.model.frontend.subsampling.mean.fill_(-3.0)
    resumed.load_state(saved.state())
    there = dict(resumed.working.named_buffers())
    assert float(there["model.frontend.subsampling.mean"].mean()) == -3.0
    for name, buffer in resumed.trained.named_buffers():
        assert torch.equal(there[name], buffer), name


def test_a_state_of_other_optimisers_is_refused() -> None:
    exact = learner("splitformer-two-speed", "float32")
    state = exact.state()
    with pytest.raises(DataError, match="does not fit the run's model, heads and optimisers"):
        exact.load_state(state | {"optimizers": state["optimizers"][:1]})


def test_crf_asks_for_a_bigram() -> None:
    values = {"name": "x", "model": {"phones": 7}, "optim": {"phones": 1.0, "crf": 0.9}}
    config = TrainConfig.from_dict(values)
    with pytest.raises(OptionError, match=r"optim\.crf is 0\.9"):
        Learner(config, AsrModel(config.model), torch.device("cpu"))
