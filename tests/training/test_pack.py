"""A small pack, trained from on the CPU: shards that arrive late, weights in parts, and damaged input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.errors import DataError, OptionError
from edge_asr.training import node
from edge_asr.training.config import AugmentConfig, Phase
from edge_asr.training.data.device_augment import DB, DeviceAugmenter
from edge_asr.training.pack import PackSpec, Row, complete_shards, read_shard
from edge_asr.training.weights import load_weights
from tests.training.test_splicing import make_batch
from tests.training.test_trainer import VALUES

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def pack(prepared: Path, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    root = tmp_path_factory.mktemp("pack")
    optim = VALUES["optim"] | {"minutes": 0.2, "consistency": 0.1}  # two views of each utterance
    values: dict[str, Any] = VALUES | {"optim": optim, "data": {"speeds": [0.9, 1.0], "dev_utterances": 4}}
    (root / "config.yaml").write_text(yaml.safe_dump(values))
    command = [sys.executable, "scripts/gpu_pack.py", "make", "--config", str(root / "config.yaml")]
    command += ["--data", str(prepared), "--out", str(root / "pack"), "--shard-mib", str(LIMIT / (1 << 20))]
    environment = os.environ | {"PYTHONPATH": str(repository), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "edge_asr.training.node . --out OUT" in done.stderr
    return root / "pack"


@pytest.mark.parametrize(
    ("option", "change"),
    [
        (
            "optim.teacher",
            {"data": {"teacher": True}, "optim": VALUES["optim"] | {"teacher": 1.0, "teacher_exits": [2]}},
        ),
        ("optim.phones", {"model": VALUES["model"] | {"phones": 79}, "optim": VALUES["optim"] | {"phones": 1.0}}),
        ("augment.pace", {"augment": {"pace": 0.1}, "optim": VALUES["optim"] | {"minutes": 0.2}}),
        ("optim.minutes", {}),
    ],
)
def test_what_a_pack_lacks_is_refused(
    option: str, change: dict[str, Any], prepared: Path, tmp_path: Path, repository: Path
) -> None:
    values = VALUES | change
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    command = [sys.executable, "scripts/gpu_pack.py", "make", "--config", str(tmp_path / "config.yaml")]
    command += ["--data", str(prepared), "--out", str(tmp_path / "pack")]
    environment = os.environ | {"PYTHONPATH": str(repository), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert option in done.stderr + done.stdout


def test_views_of_an_utterance_differ_in_all_but_length() -> None:
    store = node.Store(torch.device("cpu"), 80)
    for seconds in (1.0, 2.0):
        rows = int(25 * seconds) * 4 + 3
        mels = np.random.default_rng(rows).normal(-5, 1, (rows, 80)).astype(np.float16)
        store.add(Row("x.wav", "tones", seconds, (1, 2), "A"), [mels])
    store.settle()
    augment = DeviceAugmenter(AugmentConfig(tail_frames=12), torch.zeros(80), None)
    batch = augment(store.batch([0, 1], [0, 0], views=2), torch.Generator().manual_seed(3))
    assert batch.views == 2
    assert batch.lengths[:2].tolist() == batch.lengths[2:].tolist()
    assert batch.target_lengths.tolist() == [2] * 4
    assert not torch.equal(batch.mels[:2], batch.mels[2:])


def test_shards_hold_everything_within_their_size(pack: Path) -> None:
    spec = PackSpec.read(pack)
    assert len(spec.shards) > 1
    assert all(size <= LIMIT for size in spec.shards.values())
    rows = [row for name in spec.shards for row, _ in read_shard(pack / name)]
    assert len(rows) == 40 + 12 - 2
    for row in rows:
        assert "".join(spec.pieces[i] for i in row.ids).replace("▁", " ").strip() == row.text
    assert {row.corpus for row, _ in read_shard(pack / "shard-000.tar")} == {"tones", "more-tones"}
    assert complete_shards(pack, spec) == [pack / name for name in spec.shards]


def test_a_node_trains_while_shards_arrive(pack: Path, tmp_path: Path, repository: Path) -> None:
    """In a process that has only the pack's own code, which needs torch, numpy, soundfile and soxr alone."""
    late = tmp_path / "node"
    shutil.copytree(pack, late)
    others = sorted(late.glob("shard-*.tar"))[1:]
    for path in others:
        path.rename(tmp_path / path.name)
    (late / "barred.py").write_text(
        "import sys\n"
        "for name in ('lhotse', 'sentencepiece', 'jiwer', 'rich', 'yaml', 'safetensors'):\n"
        "    sys.modules[name] = None\n"
        "from edge_asr.training.node import main\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main())\n"
    )
    command = [sys.executable, "barred.py", ".", "--out", "out", "--workers", "1", "--device", "cpu"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": "code"}
    process = subprocess.Popen(
        [*command, "--save-seconds", "4"], cwd=late, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(6)
    for path in others:
        shutil.move(tmp_path / path.name, late / path.name)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    said = [json.loads(line) for line in out.decode().splitlines()]
    assert said[-1]["utterances"] == 50
    assert said[-1]["step"] > 5
    status = json.loads((late / "out" / "status.json").read_text())
    assert status["finished"]
    assert len(status["dev_wer"]) == 2
    collect = [sys.executable, "scripts/gpu_pack.py", "collect", str(late), str(late / "out")]
    collect += ["--weights", str(tmp_path / "w.safetensors")]
    done = subprocess.run(
        collect, cwd=repository, env=os.environ | {"PYTHONPATH": str(repository)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    model, tokenizer, notes = load_weights(tmp_path / "w.safetensors")
    assert notes["step"] == status["step"]
    assert tuple(tokenizer.pieces()) == PackSpec.read(pack).pieces
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_weights_come_in_parts(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "PART_BYTES", 40_000)
    run = node.Node(pack, tmp_path, torch.device("cpu"), 1, None)
    run.save({"step": 0, "elapsed": 0})
    files = sorted(tmp_path.glob("weights-*.npz"))
    assert len(files) == json.loads((tmp_path / "status.json").read_text())["parts"] > 2
    names = [n for file in files for n in np.load(file).files]
    assert sorted(names) == sorted(run.learner.ema)
    run.pool.shutdown()


def test_phones_are_not_read_as_pieces(pack: Path, tmp_path: Path) -> None:
    shutil.copytree(pack, tmp_path / "pack")
    values = json.loads((pack / "pack.json").read_text())
    values["config"]["model"]["phones"] = 4  # fewer than pieces: likelier each, in a model that knows nothing
    (tmp_path / "pack" / "pack.json").write_text(json.dumps(values))
    run = node.Node(tmp_path / "pack", tmp_path / "out", torch.device("cpu"), 1, None)
    assert len(run.evaluate()) == 2
    run.pool.shutdown()


def test_damaged_packs(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "pack.json").write_text("{}")
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=str(folder)):
            PackSpec.read(folder)
    shard = tmp_path / "shard-000.tar"
    data = (pack / "shard-000.tar").read_bytes()
    for part in (data[:300], data[: len(data) // 2], b"text"):
        shard.write_bytes(part)
        with pytest.raises(DataError, match="shard"):
            list(read_shard(shard))
    assert complete_shards(tmp_path, PackSpec.read(pack)) == []


def test_plan_weights_and_bounds(pack: Path) -> None:
    spec = PackSpec.read(pack)
    store = node.Store(torch.device("cpu"), 80)
    for name in spec.shards:
        for row, _ in read_shard(pack / name):
            store.add(row, [np.zeros((int(row.seconds * 25) * 4 + 3, 80), dtype=np.float16)])
    phase = Phase(weights={"tones": 2.0, "more-tones": 0.0})
    batches = node.plan(store, spec.config, phase, np.random.default_rng(0))
    counts = np.bincount([i for b in batches for i in b], minlength=50)
    assert all(counts[i] == (2 if store.rows[i].corpus == "tones" else 0) for i in range(50))
    for batch in batches:
        assert len(batch) * max(store.rows[i].seconds for i in batch) <= spec.config.optim.batch_seconds


@given(
    st.lists(st.sampled_from("ABC"), max_size=8).map(" ".join),
    st.lists(st.sampled_from("ABC"), max_size=8).map(" ".join),
)
def test_word_errors_are_jiwer_s(reference: str, hypothesis: str) -> None:
    import jiwer

    if not reference:
        assert node.word_errors(reference, hypothesis) == len(hypothesis.split())
    else:
        out = jiwer.process_words(reference, hypothesis)
        assert node.word_errors(reference, hypothesis) == out.substitutions + out.insertions + out.deletions


def test_device_augmentation() -> None:
    batch = make_batch([50, 33])
    noise = torch.randn(400, 80) - 6
    config = AugmentConfig(noise_probability=1.0, tail_frames=8)
    augment = DeviceAugmenter(config, torch.full((80,), -7.0), noise)
    a, b, c = (augment(batch, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a.mels, b.mels)
    assert not torch.equal(a.mels[:, :100], c.mels[:, :100])
    assert torch.all(a.lengths >= batch.lengths)
    assert torch.all(a.lengths <= batch.lengths + 8)
    assert a.mels.shape[1] == 4 * int(a.lengths.max()) + 3
    silence = a.mels[1, 4 * 33 + 3 :]
    assert torch.allclose(silence, silence[:1, :1])
    nothing = AugmentConfig(
        gain_db=0, noise_probability=0, bandwidth_probability=0, frequency_masks=0, time_masks=0, tail_frames=0
    )
    same = DeviceAugmenter(nothing, torch.zeros(80), None)(batch, torch.Generator().manual_seed(0))
    assert torch.allclose(same.mels[0], batch.mels[0].clamp(min=float(silence[0, 0])))
    peaked = replace(batch, mels=-torch.abs(torch.arange(80.0) - 50).expand_as(batch.mels))
    bent = DeviceAugmenter(replace(nothing, frequency_warp=0.12), torch.zeros(80), None)
    moved = bent(peaked, torch.Generator().manual_seed(0)).mels[:, 0].argmax(dim=1)
    assert torch.all((moved >= 44) & (moved <= 56) & (moved != 50))
    assert len(set(moved.tolist())) == 2
    equal = DeviceAugmenter(replace(nothing, equalize_db=6.0), torch.zeros(80), None)
    flat = replace(batch, mels=torch.zeros_like(batch.mels))
    curves = equal(flat, torch.Generator().manual_seed(0)).mels[:, :100] / DB
    assert torch.allclose(curves, curves[:, :1].expand_as(curves), atol=1e-4)
    assert 1 < float(curves.abs().max()) <= 6.0 + 1e-4
    assert not torch.allclose(curves[0], curves[1])


def test_a_node_without_a_time_and_cut_off_weights(pack: Path, tmp_path: Path, repository: Path) -> None:
    spec = PackSpec.read(pack)
    endless = replace(spec, config=replace(spec.config, optim=replace(spec.config.optim, minutes=0.0)))
    endless.write(tmp_path)
    with pytest.raises(OptionError, match=r"optim\.minutes of the pack is 0; allowed: above 0, or --minutes"):
        node.Node(tmp_path, tmp_path / "out", torch.device("cpu"), 1, None)
    (tmp_path / "status.json").write_text(json.dumps({"parts": 1, "step": 1, "elapsed": 1.0}))
    (tmp_path / "weights-0.npz").write_bytes(b"PK\x03\x04 cut off")
    command = [sys.executable, "scripts/gpu_pack.py", "collect", str(pack), str(tmp_path)]
    command += ["--weights", str(tmp_path / "x.safetensors")]
    environment = os.environ | {"PYTHONPATH": str(repository), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
