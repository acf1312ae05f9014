"""The model card: what it says of a model's teachers and data."""

from __future__ import annotations

from typing import Any

import pytest

from edge_asr.model.config import ModelConfig
from export.card import model_card
from export.writer import BundleOptions

TAUGHT: dict[str, Any] = {"config": {"optim": {"teacher": 1.5}}, "step": 5, "elapsed": 60.0}


def card(notes: dict[str, Any]) -> str:
    exits = [{"exit": 1, "params": 10, "macs_per_second": {"640": 1}}]
    return model_card(ModelConfig(), BundleOptions(name="x"), exits, 0.95, [], notes)


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({"step": 5, "elapsed": 60.0}, "The recipe uses no teacher model."),
        (TAUGHT | {"taught_by": "Whisper tiny.en, OpenAI, MIT"}, "(Whisper tiny.en, OpenAI, MIT)."),
        (TAUGHT, "(a Whisper model; OpenAI, MIT licence)."),  # written before teachers were recorded by name
        (
            {"step": 5, "elapsed": 60.0, "earlier": [{"updates": 1, "minutes": 1.0, "teacher": "an owl"}]},
            "on the training audio (an owl).",
        ),
    ],
)
def test_teachers_are_disclosed(notes: dict[str, Any], said: str) -> None:
    assert said in card(notes)


def test_corpora_of_the_model_that_was_fine_tuned_are_credited() -> None:
    start = {"librispeech-train-clean-5": 5.31, "own": 9.0}
    earlier = [
        {"updates": 1, "minutes": 1.0, "teacher": False},
        {"updates": 2, "minutes": 1.0, "teacher": False, "name": "en-tiny", "corpora": start},
    ]
    text = card({"step": 5, "corpora": {"own": 0.17}, "earlier": earlier})
    assert "Training went on from `en-tiny`: what that was trained on" in text
    assert "`librispeech-train-clean-5`, 5.31 h: LibriSpeech (Panayotov et al. 2015), CC BY 4.0" in text
    assert text.count("- `own`") == 1
    assert "The corpora of 1 of its 2 runs are not recorded" in text
    assert "are not recorded" not in card({"step": 5, "corpora": {"own": 0.17}, "earlier": earlier[1:]})
    assert "went on from" not in card({"step": 5, "corpora": start})
    old = card({"step": 5, "corpora": {"own": 0.17}, "earlier": earlier[:1]})
    assert "from a model of unrecorded name: what that was trained on" in old


def test_corpora_are_credited() -> None:
    text = card(TAUGHT | {"corpora": {"librispeech-train-clean-5": 5.31, "own": 1.0}})
    assert "`librispeech-train-clean-5`, 5.31 h: LibriSpeech (Panayotov et al. 2015), CC BY 4.0" in text
    assert "`own`, 1.00 h: licence not recorded" in text
