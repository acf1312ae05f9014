"""Branching: what two encoders have in common is taken, frame for frame; what they don't is refused or drawn anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from edge_asr.errors import DataError
from edge_asr.model.config import ModelConfig
from edge_asr.model.model import AsrModel
from edge_asr.model.registry import ENCODERS
from edge_asr.training.branching import aligned, branch, canonical, segment_of
from edge_asr.training.weights import load_weights

SIZES = {"dim": 16, "heads": 2, "vocabulary": 12, "exits": 3, "history": 16, "branches": (1, 3)}


def build(seed: int = 0, **change: object) -> AsrModel:
    torch.manual_seed(seed)
    return AsrModel(ModelConfig(**(SIZES | change))).double().eval()  # type: ignore[arg-type]


def output(model: AsrModel, chunk: int | None = 8) -> Tensor:
    mels = torch.randn(2, 4 * 40 + 3, 80, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    with torch.inference_mode():
        return model.from_mels(mels, torch.tensor([40, 31]), chunk=chunk, look_ahead=4)[:, :, :31]


def test_the_same_encoder_says_the_same() -> None:
    source, target = build(0), build(1)
    assert branch(source, target) == []
    assert torch.equal(output(source), output(target))


def test_a_wider_kernel_says_the_same() -> None:
    source, target = build(0), build(1, kernel=15)
    assert branch(source, target) == []
    assert (output(source) - output(target)).abs().max() < 1e-12
    back = build(2)
    branch(target, back)
    assert torch.equal(output(back), output(source))


def test_memories_of_their_own_begin_as_the_common_one() -> None:
    source, target = build(0), build(1, own_memory=True)
    assert branch(source, target) == []
    assert target.config.memories == 2 * 2 + 1
    assert (output(source) - output(target)).abs().max() < 1e-12
    back = build(2)
    with pytest.raises(DataError, match=r"memory\.kv"):
        branch(target, back)


@pytest.mark.parametrize("architecture", sorted(ENCODERS))
def test_every_encoder_can_start_from_every_other(architecture: str) -> None:
    target = build(1, architecture=architecture)
    assert branch(build(0), target) == []
    back = build(2)
    branch(target, back)
    names = [n for n in back.state_dict() if "depthwise" not in n]
    if architecture == "splitformer-offline":
        names = [n for n in names if "memory" not in n]  # it has none
    for name in names:
        assert torch.equal(back.state_dict()[name], build(0).state_dict()[name]), name
    first = output(target, 8 if target.encoder.streams else None)[0]
    if architecture != "splitformer-offline":
        assert torch.equal(first, output(build(0))[0])  # the trunk is common to all


def test_a_branch_that_is_new_is_drawn() -> None:
    target = build(1)
    missing = branch(build(0, branches=(1,)), target)
    assert missing
    assert all(name.startswith("segment.3.branch.") for name in missing)


def test_fresh_segments_take_nothing() -> None:
    source, target, drawn = build(0), build(1), build(1)
    assert branch(source, target, fresh=2) == []
    for name, value in target.state_dict().items():
        known = canonical(name, target.config)
        given = segment_of(known) < 2
        assert torch.equal(value, (source if given else drawn).state_dict()[name]), name
    assert torch.equal(output(source)[0], output(target)[0])
    assert not torch.equal(output(source)[1], output(target)[1])


def test_another_vocabulary_gets_exits_of_its_own() -> None:
    source, target, drawn = build(0), build(1, vocabulary=16), build(1, vocabulary=16)
    missing = branch(source, target)
    assert missing
    assert all(name.endswith(("exit.output.weight", "exit.output.bias", "exit.feedback.weight")) for name in missing)
    for name, value in target.state_dict().items():
        origin = drawn if canonical(name, target.config) in missing else source
        assert torch.equal(value, origin.state_dict()[name]), name


@pytest.mark.parametrize("phones", [0, 4])
def test_phones_that_the_weights_lack_are_drawn(phones: int) -> None:
    source, target, drawn = build(0, phones=phones), build(1, phones=6), build(1, phones=6)
    missing = branch(source, target)
    assert missing
    assert all(".exit.phones." in name for name in missing)
    for name, value in target.state_dict().items():
        origin = drawn if canonical(name, target.config) in missing else source
        assert torch.equal(value, origin.state_dict()[name]), name
    assert torch.equal(output(target)[..., :12], output(source)[..., :12])


def test_phones_that_the_model_lacks_are_left_behind() -> None:
    source, target = build(0, phones=6), build(1)
    assert branch(source, target) == []
    assert torch.equal(output(target), output(source)[..., :12])
    again = build(2, phones=6)
    assert branch(source, again) == []
    assert torch.equal(output(again), output(source))


def test_another_width_is_refused() -> None:
    with pytest.raises(DataError, match=r"in the weights, .* in the model"):
        branch(build(0), build(1, dim=20))


def test_taps_stand_where_the_same_frame_is() -> None:
    taps = torch.arange(1.0, 6.0).reshape(1, 1, 5)
    assert aligned(taps, 2, 7, 3).flatten().tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert aligned(taps, 2, 5, 4).flatten().tolist() == [0, 0, 1, 2, 3]  # centred to causal: what came after is lost
    assert aligned(taps, 4, 3, 1).flatten().tolist() == [4, 5, 0]


def test_the_released_model_can_be_branched(repository: Path) -> None:
    source, _, _ = load_weights(repository / "models" / "en-tiny.safetensors")
    for name in ENCODERS:
        config = ModelConfig.from_dict(source.config.to_dict() | {"architecture": name})
        assert branch(source, AsrModel(config)) == []
