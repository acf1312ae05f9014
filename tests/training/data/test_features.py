"""Cached features are what the frontend would compute, at each speed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from lhotse import CutSet

from edge_asr.errors import DataError
from edge_asr.model.config import ModelConfig
from edge_asr.model.frontend import Frontend
from edge_asr.training.data.batches import open_store, read_part
from edge_asr.training.data.corpus import read_corpus
from edge_asr.training.data.features import MelStore, cache_features, feature_path, read_audio, utterance_mels


def test_cached_features_give_the_frontend_s_frames(prepared: Path) -> None:
    store = open_store(prepared, "train", ["tones"], (1.0,))
    cut = next(iter(CutSet.from_file(prepared / "train" / "tones" / "cuts.jsonl.gz")))
    pcm = read_audio(cut.recording.sources[0].source)
    frames = -(-len(pcm) // 640)
    mels = store.get(cut.id)
    assert mels.shape == (4 * frames + 3, 80)
    torch.manual_seed(0)
    frontend = Frontend(ModelConfig(dim=16, heads=2)).eval()
    padded = torch.zeros(1, frames * 640 + 720)
    padded[0, : len(pcm)] = torch.from_numpy(pcm)
    with torch.inference_mode():
        direct = frontend(padded)
        cached = frontend.subsampling(torch.from_numpy(mels.astype(np.float32))[None])
    assert direct.shape == cached.shape == (1, frames, 16)
    assert (direct - cached).abs().max() < 0.05  # features are kept in half precision


def test_speeds(prepared: Path) -> None:
    store = open_store(prepared, "train", ["tones", "more-tones"], (0.9, 1.0))
    assert len(store) == 2 * (40 + 12)
    slow, plain = store.get("tones-001", 0.9), store.get("tones-001", 1.0)
    assert len(slow) / len(plain) == pytest.approx(1 / 0.9, rel=0.03)
    with pytest.raises(KeyError):
        store.get("tones-001", 1.1)


def test_mean_and_std(prepared: Path) -> None:
    store = open_store(prepared, "train", ["tones"], (1.0,))
    mean, std = store.mean_and_std()
    rows = np.concatenate([store.get(key.split("@")[0]) for key in store.keys()]).astype(np.float64)  # noqa: SIM118
    assert np.allclose(mean, rows.mean(axis=0), atol=1e-2)
    assert np.allclose(std, rows.std(axis=0), atol=1e-2)


def test_a_cut_off_cache_is_refused(prepared: Path, tmp_path: Path) -> None:
    source = prepared / "features" / "train-tones-1.0.f16"
    (tmp_path / source.name).write_bytes(source.read_bytes()[:-160])
    (tmp_path / (source.name + ".json")).write_text(source.with_name(source.name + ".json").read_text())
    with pytest.raises(DataError, match="make it again"):
        MelStore([tmp_path / source.name])
    with pytest.raises(DataError, match="cannot be read"):
        MelStore([tmp_path / "none-1.0.f16"])


def test_the_end_is_padded_with_silence() -> None:
    from edge_asr.model.logmel import LOG_FLOOR, LogMel

    mels = utterance_mels(LogMel(), np.full(650, 0.1, dtype=np.float32))
    assert mels.shape == (11, 80)
    assert np.allclose(mels[-1], LOG_FLOOR, atol=0.01)


def write_corpus(folder: Path, seed: int, seconds: float = 0.5) -> CutSet:
    """One recording, always under the same id."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(int(16_000 * seconds))
    sf.write(folder / "a.wav", noise, 16_000)
    (folder / "m.jsonl").write_text(json.dumps({"id": "a", "audio": "a.wav", "text": "ONE"}) + "\n")
    return read_corpus(folder / "m.jsonl")


def test_an_id_stands_for_one_recording_over_all_corpora(tmp_path: Path) -> None:
    paths = {name: feature_path(tmp_path, "train", name, 1.0) for name in ("one", "same", "other")}
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        cache_features(write_corpus(tmp_path / name, seed), paths[name])
    assert len(MelStore([paths["one"], paths["same"]])) == 1
    with pytest.raises(DataError, match=r"train-other-1\.0\.f16.* different audio under the id 'a'"):
        MelStore([paths["one"], paths["other"]])


def test_each_speed_has_a_file_of_its_own(tmp_path: Path) -> None:
    names = [feature_path(tmp_path, "train", "x", speed).name for speed in (0.9, 1, 1.1, 0.95)]
    assert names == ["train-x-0.9.f16", "train-x-1.0.f16", "train-x-1.1.f16", "train-x-0.95.f16"]
    cuts = write_corpus(tmp_path / "x", 0, seconds=2.0)
    for speed in (0.9, 0.95):
        cache_features(cuts, feature_path(tmp_path, "train", "x", speed), speed)
    store = open_store(tmp_path, "train", ["x"], (0.9, 0.95))
    assert len(store.get("a", 0.95)) < len(store.get("a", 0.9))


def test_other_recordings_under_the_same_ids_are_cached_again(tmp_path: Path) -> None:
    path = feature_path(tmp_path, "train", "x", 1.0)
    cuts = write_corpus(tmp_path / "x", 0)
    cache_features(cuts, path)
    written = path.stat().st_mtime_ns
    cache_features(cuts, path)
    assert path.stat().st_mtime_ns == written
    cache_features(write_corpus(tmp_path / "x", 1, seconds=0.8), path)
    assert MelStore([path]).get("a").shape == (4 * 20 + 3, 80)
    # An older cache does not say what it was made of: it is believed.
    path.with_name(path.name + ".source").unlink()
    cache_features(write_corpus(tmp_path / "x", 0), path)
    assert MelStore([path]).get("a").shape == (4 * 20 + 3, 80)


def test_a_finished_cache_outlives_its_audio(tmp_path: Path) -> None:
    cuts = write_corpus(tmp_path / "audio", 1)
    path = tmp_path / "train-a-1.0.f16"
    cache_features(cuts, path)
    before = {p.name: p.read_bytes() for p in tmp_path.glob("train-*")}
    (tmp_path / "audio" / "a.wav").unlink()
    cache_features(cuts, path)
    assert {p.name: p.read_bytes() for p in tmp_path.glob("train-*")} == before
    # Where something is to be done it can't be, and nothing is lost.
    with pytest.raises(DataError, match=r"a\.wav"):
        cache_features(CutSet.from_cuts([cut.with_id("b") for cut in cuts]), path)
    assert {p.name: p.read_bytes() for p in tmp_path.glob("train-*.json")} == {
        name: data for name, data in before.items() if name.endswith(".json")
    }
    assert len(MelStore([path])) == 1


def test_a_missing_speed_is_named(prepared: Path) -> None:
    cuts = read_part(prepared, "train", ("tones",))["tones"]
    store = open_store(prepared, "train", ["tones"], (0.9, 1.0))
    store.check(cuts, (0.9, 1.0))
    with pytest.raises(DataError, match=r"'tones-000' at speed 1\.1 are missing: run scripts/prepare_data\.py"):
        store.check(cuts, (1.0, 1.1))
