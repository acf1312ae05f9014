"""Batches: bounded, weighted, and the same again for the same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_asr.errors import DataError
from edge_asr.model.logmel import LOG_FLOOR
from edge_asr.training.config import AugmentConfig, DataConfig, Phase
from edge_asr.training.data.augment import Augmenter
from edge_asr.training.data.batches import Loader, epoch_cuts, open_store, read_part
from edge_asr.training.data.corpus import read_corpus
from edge_asr.training.data.features import cache_features, feature_path
from edge_asr.training.tokenizer import Tokenizer
from tests.training.data.test_features import write_corpus


@pytest.fixture(scope="module")
def loader(prepared: Path) -> Loader:
    config = DataConfig(max_check=0.4, speeds=(0.9, 1.0))
    corpora = read_part(prepared, "train", ())
    store = open_store(prepared, "train", list(corpora), config.speeds)
    texts = [c.supervisions[0].text for cuts in corpora.values() for c in cuts]
    augmenter = Augmenter(AugmentConfig(), store.mean_and_std()[0], None)
    return Loader(corpora, store, Tokenizer.train(texts, 12), augmenter, config, batch_seconds=10.0, seed=3)


def test_an_epoch_holds_every_believed_utterance_once(loader: Loader) -> None:
    batches = list(loader.epoch(Phase(), 0, 0))
    assert sum(len(b.texts) for b in batches) == 40 + 12 - 2  # one of each corpus has a check of 0.9
    for batch in batches:
        assert batch.seconds <= 10.0
        assert batch.mels.shape == (len(batch.texts), 4 * int(batch.lengths.max()) + 3, 80)
        assert int(batch.target_lengths.sum()) == len(batch.targets)
        for i, length in enumerate(batch.lengths.tolist()):
            silence = batch.mels[i, 4 * length + 3 :]
            assert torch.allclose(silence, torch.full_like(silence, LOG_FLOOR))
        split = torch.split(batch.targets, batch.target_lengths.tolist())
        assert [loader.tokenizer.decode(ids.tolist()) for ids in split] == batch.texts


def test_order_repeats_and_resumes(loader: Loader) -> None:
    whole = list(loader.epoch(Phase(), 0, 1))
    rest = list(loader.epoch(Phase(), 0, 1, skip=3))
    assert len(rest) == len(whole) - 3
    for a, b in zip(whole[3:], rest, strict=True):
        assert a.texts == b.texts
        assert torch.equal(a.mels, b.mels)
    other = list(loader.epoch(Phase(), 0, 2))
    assert [b.texts for b in other] != [b.texts for b in whole]


@pytest.mark.parametrize(("weight", "count"), [(0.0, 11), (0.5, 11 + 20), (1.0, 11 + 39), (2.0, 11 + 78)])
def test_weights(loader: Loader, weight: float, count: int) -> None:
    cuts = epoch_cuts(loader.corpora, Phase(weights={"tones": weight}), np.random.default_rng(0))
    assert len(cuts) == pytest.approx(count, abs=1)


def test_nothing_left(loader: Loader) -> None:
    with pytest.raises(DataError, match="no utterance"):
        epoch_cuts(loader.corpora, Phase(max_seconds=0.1), np.random.default_rng(0))


def test_unprepared_corpora(prepared: Path) -> None:
    with pytest.raises(DataError, match=r"'nothing' is not prepared.*more-tones"):
        read_part(prepared, "train", ("nothing",))
    with pytest.raises(DataError, match="prepare_data"):
        read_part(prepared, "test", ())


def test_pace_changes_lengths_and_nothing_else(loader: Loader, prepared: Path) -> None:
    config = AugmentConfig(
        gain_db=0,
        noise_probability=0,
        bandwidth_probability=0,
        frequency_masks=0,
        time_masks=0,
        tail_frames=0,
        pace=0.3,
    )
    augmenter = Augmenter(config, loader.store.mean_and_std()[0], None)
    args = loader.corpora, loader.store, loader.tokenizer, augmenter, loader.config
    moving = Loader(*args, batch_seconds=10.0, seed=3)
    cuts = loader.corpora["tones"][:4]
    plain = loader.collate(cuts, None)
    ratios = set()
    for seed in range(8):
        batch = moving.collate(cuts, np.random.default_rng(seed))
        assert torch.equal(batch.targets, plain.targets)
        ratio = (batch.lengths / plain.lengths).tolist()
        assert max(ratio) - min(ratio) < 0.1  # one pace a batch
        ratios.add(round(ratio[0], 1))
    assert min(ratios) < 0.95
    assert max(ratios) > 1.1


def test_an_id_may_hold_the_sign_between_id_and_copy(tmp_path: Path) -> None:
    write_corpus(tmp_path / "x", 0)
    manifest = tmp_path / "x" / "m.jsonl"
    manifest.write_text(manifest.read_text().replace('"a"', '"take #1"'))
    cuts = read_corpus(manifest)
    cache_features(cuts, feature_path(tmp_path, "train", "x", 1.0))
    store = open_store(tmp_path, "train", ["x"], (1.0,))
    tokenizer = Tokenizer.train(["ONE TWO SIX TEN"] * 20, 12)
    config = DataConfig(min_seconds=0.1)
    loader = Loader({"x": list(cuts)}, store, tokenizer, None, config, batch_seconds=10.0, seed=3)
    batches = list(loader.epoch(Phase(weights={"x": 8}), 0, 0))
    assert [text for batch in batches for text in batch.texts] == ["ONE"] * 8
    assert loader.collate(list(cuts), None).texts == ["ONE"]  # as dev samples are, without a copy's number


def test_an_epoch_of_one_utterance(loader: Loader) -> None:
    one = [cut for cut in loader.corpora["tones"] if cut.id == "tones-003"]
    alone = Loader(
        {"tones": one}, loader.store, loader.tokenizer, loader.augmenter, loader.config, batch_seconds=10.0, seed=3
    )
    [batch] = alone.epoch(Phase(), 0, 0)
    assert batch.texts == [one[0].supervisions[0].text]
    assert list(alone.epoch(Phase(), 0, 0, skip=1)) == []


def test_what_a_run_would_stop_at_is_found_before_it(loader: Loader) -> None:
    loader.check()
    cut = loader.corpora["tones"][5]
    said = replace(cut.supervisions[0], text="ONE é")
    odd = [*loader.corpora["tones"][:5], replace(cut, supervisions=[said])]
    other = Loader({"tones": odd}, loader.store, loader.tokenizer, None, loader.config, batch_seconds=10.0, seed=3)
    with pytest.raises(DataError, match=rf"corpus 'tones', utterance '{cut.id}': text 'ONE é'"):
        other.check()
    config = DataConfig(speeds=(1.0, 1.1))
    other = Loader(loader.corpora, loader.store, loader.tokenizer, None, config, batch_seconds=10.0, seed=3)
    with pytest.raises(DataError, match=r"at speed 1\.1 are missing"):
        other.check()
