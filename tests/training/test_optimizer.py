"""The schedule's shape, Muon's orthogonal updates, and which parameters go where."""

from __future__ import annotations

import pytest
import torch

from edge_asr.model.config import ModelConfig
from edge_asr.model.model import AsrModel
from edge_asr.training.config import OptimConfig
from edge_asr.training.muon import Muon, orthogonalise
from edge_asr.training.optimizer import build_optimizers, rate


def test_schedule() -> None:
    config = OptimConfig(warmup_steps=100, hold=0.5)
    assert rate(config, 0, 0.0) == pytest.approx(0.01)
    assert rate(config, 49, 0.01) == pytest.approx(0.5)
    assert rate(config, 1000, 0.5) == 1.0
    assert rate(config, 1000, 0.75) == pytest.approx(0.51)
    assert rate(config, 1000, 1.0) == pytest.approx(0.02)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 5, 20), (2, 20, 5)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
    assert values.min() > 0.3
    assert values.max() < 1.4


def test_muon_descends() -> None:
    torch.manual_seed(0)
    target, weight = torch.randn(6, 12), torch.nn.Parameter(torch.zeros(6, 12))
    optimizer = Muon([weight], lr=0.1)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = ((weight - target) ** 2).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_parameter_has_one_optimizer(name: str) -> None:
    model = AsrModel(ModelConfig(dim=16, heads=2, vocabulary=10, exits=2, branches=(1,)))
    optimizers = build_optimizers(model, OptimConfig(optimizer=name))
    assert len(optimizers) == (2 if name == "muon" else 1)
    held = [id(p) for optimizer, _ in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())


def test_heads_have_a_rate_of_their_own() -> None:
    model = AsrModel(ModelConfig(dim=16, heads=2, vocabulary=10, phones=5, exits=2, branches=(1,)))
    parts = torch.nn.ModuleDict({"model": model, "teacher": torch.nn.Linear(4, 5)})

    def rates(head_lr: float) -> dict[str, float]:
        optimizers = build_optimizers(parts, OptimConfig(optimizer="muon", head_lr=head_lr))
        peaks = {id(p): peak for o, peak in optimizers for group in o.param_groups for p in group["params"]}
        return {name: peaks[id(p)] for name, p in parts.named_parameters()}

    own = rates(0.1)
    heads = {name for name, peak in own.items() if peak == 0.1}
    assert heads == {name for name in own if name.startswith("teacher.") or ".exit.phones." in name}
    assert len(heads) == 2 + 2 * 4
    # Without one, they go with the other output layers: to AdamW.
    assert {rates(0.0)[name] for name in heads if ".exit.phones." in name} == {OptimConfig().peak_lr}


@pytest.mark.parametrize("head_lr", [0.0, 1e-3])
@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_weight_decay_is_for_matrices_alone_and_a_teacher_s_maps_are_outputs(head_lr: float, decay: float) -> None:
    model = AsrModel(ModelConfig(dim=16, heads=2, vocabulary=10, phones=5, exits=2, branches=(1,)))
    maps = torch.nn.Sequential(torch.nn.LayerNorm(4), torch.nn.Linear(4, 5))
    parts = torch.nn.ModuleDict({"model": model, "teacher": maps})
    optimizers = build_optimizers(parts, OptimConfig(optimizer="muon", head_lr=head_lr, weight_decay=decay))
    for optimizer, _ in optimizers:
        for group in optimizer.param_groups:
            for p in group["params"]:
                assert group["weight_decay"] == (decay if p.ndim > 1 else 0.0)
    [muon] = [optimizer for optimizer, _ in optimizers if isinstance(optimizer, Muon)]
    held = {id(p) for group in muon.param_groups for p in group["params"]}
    assert held
    assert not held & {id(p) for p in maps.parameters()}
