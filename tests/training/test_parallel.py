"""Two processes make the updates that one makes; what they tell each other; a loader's shares."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from edge_asr.errors import OptionError
from edge_asr.training.checkpoint import read_checkpoint
from edge_asr.training.config import AugmentConfig, DataConfig, Phase
from edge_asr.training.data.augment import Augmenter
from edge_asr.training.data.batches import open_store, read_part
from edge_asr.training.data.share import ShareLoader
from edge_asr.training.parallel import Parallel, local_device
from edge_asr.training.tokenizer import Tokenizer

# Nothing that differs by process: no augmentation, no dropout, and no rounding that depends on how a batch is cut.
VALUES: dict[str, Any] = {
    "name": "test",
    "model": {"dim": 32, "heads": 2, "vocabulary": 12, "exits": 2, "layers": 1, "history": 16, "branches": [1]},
    "data": {"dev_utterances": 4},
    "augment": {
        "gain_db": 0.0,
        "noise_probability": 0.0,
        "bandwidth_probability": 0.0,
        "frequency_masks": 0,
        "time_masks": 0,
        "tail_frames": 0,
    },
    "optim": {
        "steps": 10,
        "batch_seconds": 16,
        "precision": "float32",
        "warmup_steps": 4,
        "peak_lr": 1e-3,
        "ema": 0.5,
    },
    "phases": [{"until": 0.5, "depths": {1: 0.5, 2: 0.5}}, {"until": 1.0}],
}


def launch(repository: Path, processes: int, *command: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    run = [sys.executable]
    if processes > 1:
        run += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*run, *map(str, command)], cwd=repository, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


def test_two_processes_train_as_one(prepared: Path, tmp_path: Path, repository: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(VALUES))
    logs, states = [], []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        arguments = ["--config", config, "--data", prepared, "--out", out, "--threads", 1, "--device", "cpu"]
        launch(repository, processes, "scripts/train.py", *arguments)
        with (out / "train.csv").open() as file:
            logs.append(list(csv.DictReader(file)))
        states.append(read_checkpoint(out / "last.pt"))
        assert (out / "dev.csv").exists()
    assert [row["step"] for row in logs[1]] == [str(i) for i in range(1, 11)]  # the leader alone has logged
    for one, two in zip(*logs, strict=True):
        assert one["chunk"] == two["chunk"]
        for name in ("loss1", "loss2", "norm"):
            assert one[name] == two[name] == "" or float(two[name]) == pytest.approx(float(one[name]), rel=2e-3)
    for name, tensor in states[0]["model"].items():
        torch.testing.assert_close(states[1]["model"][name], tensor, rtol=0, atol=2e-4)
    for name in ("step", "phase", "epoch", "batch"):
        assert states[0][name] == states[1][name]


def test_what_processes_tell_each_other(tmp_path: Path, repository: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import json, sys, torch
            from pathlib import Path
            from edge_asr.training.parallel import Parallel
            parallel = Parallel.start("cpu")
            layer = torch.nn.Linear(2, 1)
            with torch.no_grad():
                layer.weight.fill_(parallel.rank + 1.0)
            parallel.broadcast(layer)
            same = layer.weight.tolist()
            a, b, c = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
            a.grad = torch.tensor([1.0, 2.0]) * (parallel.rank + 1)
            b.grad = None if parallel.rank else torch.ones(2)
            logged = {"losses": [float(parallel.rank), 4.0], "splice": 0.5}
            logged = parallel.average([a, b, c], logged, weight=1.0 + 2 * parallel.rank)
            means = [a.grad.tolist(), b.grad.tolist(), c.grad, logged]
            a.grad = torch.full((2,), float("nan") if parallel.rank else 3.0)  # has no weight, so it does not matter
            logged = parallel.average([a], {"splice": float("inf") if parallel.rank else 1.0}, 1.0 - parallel.rank)
            with parallel.leader_first():
                seen = Path(sys.argv[1], "made").exists()
                Path(sys.argv[1], "made").touch()
            agreed = parallel.agree(10.0 + parallel.rank, parallel.rank == 1, 2.0, torch.device("cpu"))
            found = [same, means, [a.grad.tolist(), logged], seen, agreed]
            Path(sys.argv[1], f"{parallel.rank}.json").write_text(json.dumps(found))
            parallel.close()
            """
        )
    )
    launch(repository, 2, script, tmp_path)
    leader, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert (leader.pop(3), other.pop(3)) == (False, True)
    assert leader == other
    means = [[1.75, 3.5], [0.25, 0.25], None, {"losses": [0.75, 4.0], "splice": 0.5}]
    assert leader == [[[1.0, 1.0]], means, [[3.0, 3.0], {"splice": 1.0}], [10.0, True, 4.0]]


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    parallel = Parallel.start("cpu")
    assert (parallel.rank, parallel.size, parallel.leads) == (0, 1, True)
    assert parallel.agree(1.0, False, 3.0, torch.device("cpu")) == (1.0, False, 3.0)
    with parallel.leader_first():
        pass
    parallel.close()
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [local_device(name) for name in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda:3", "cuda:1"]
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(OptionError, match="WORLD_SIZE and RANK must be whole numbers"):
        Parallel.start("cpu")


def share(prepared: Path, rank: int, size: int, augment: dict[str, Any]) -> ShareLoader:
    corpora = read_part(prepared, "train", ())
    tokenizer = Tokenizer.train(sorted({c.supervisions[0].text for cuts in corpora.values() for c in cuts}), 12)
    store = open_store(prepared, "train", list(corpora), (1.0,))
    augmenter = Augmenter(AugmentConfig(**augment), np.zeros(80, np.float32), None)
    data = DataConfig(max_check=1.0)
    return ShareLoader(Parallel(rank, size), corpora, store, tokenizer, augmenter, data, batch_seconds=6.0, seed=3)


def test_shares_make_up_the_batches(prepared: Path) -> None:
    whole = list(share(prepared, 0, 1, VALUES["augment"]).epoch(Phase(), 0, 0))
    parts = [list(share(prepared, rank, 4, VALUES["augment"]).epoch(Phase(), 0, 0)) for rank in range(4)]
    assert {len(part) for part in parts} == {len(whole)}
    empty = 0
    for number, batch in enumerate(whole):
        texts = []
        for rank in range(4):
            mine = parts[rank][number]
            assert len(mine.mels) > 0
            assert int(mine.target_lengths.sum()) == len(mine.targets)
            assert mine.texts == batch.texts[rank::4] or (len(mine.targets) == 0 and mine.seconds == 0)
            empty += len(mine.targets) == 0
            texts += mine.texts if len(mine.targets) else []
        assert sorted(texts) == sorted(batch.texts)
        assert sum(part[number].seconds for part in parts) == pytest.approx(batch.seconds)
    assert empty > 0  # the last batch of a bucket is small


def test_each_process_augments_for_itself_and_repeatably(prepared: Path) -> None:
    augment = VALUES["augment"] | {"gain_db": 8.0}
    first, again, other = (next(share(prepared, rank, 2, augment).epoch(Phase(), 0, 0)) for rank in (0, 0, 1))
    assert torch.equal(first.mels, again.mels)
    plain = [next(share(prepared, rank, 2, VALUES["augment"]).epoch(Phase(), 0, 0)) for rank in (0, 1)]
    gains = [float((a.mels - b.mels)[0, 0, 0]) for a, b in zip((first, other), plain, strict=True)]
    assert gains[0] != pytest.approx(gains[1], abs=1e-3)


LOCAL = """
import dataclasses, sys
from pathlib import Path
import torch
from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.config import TrainConfig
from edge_asr.training.learner import Learner
from edge_asr.training.parallel import Parallel

def batch(rank, step):
    generator = torch.Generator().manual_seed(10 * step + rank)
    lengths = torch.tensor([20, 18])
    tokens = 0 if (rank, step) == (1, 2) else 4  # a process that is left without an utterance
    targets = torch.randint(1, 12, (2 * tokens,), generator=generator)
    mels = torch.randn(2, 4 * 20 + 3, 80, generator=generator)
    return Batch(mels, lengths, targets, torch.tensor([tokens, tokens]), 1.6, ["", ""])

def learner(config, parallel):
    torch.manual_seed(0)
    return Learner(config, AsrModel(config.model), torch.device("cpu"), parallel=parallel)

def weights(it):
    tensors = [*it.trained.state_dict().values(), *it.ema.values()]
    return [x.clone() for x in tensors if x.is_floating_point()]
"""


def test_processes_that_meet_now_and_then(tmp_path: Path, repository: Path) -> None:
    values = VALUES | {"optim": VALUES["optim"] | {"local_steps": 3}, "phases": [{}]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    body = """
parallel = Parallel.start("cpu")
config = TrainConfig.load(Path(sys.argv[1], "config.yaml"))
it, seen = learner(config, parallel), []
for step in range(8):
    it.update(config.phases[0], batch(parallel.rank, step), 0.0)
    seen.append((it.meets, weights(it)))
it.meet()  # as at the end of a run
seen.append((True, weights(it)))
torch.save(seen, Path(sys.argv[1], f"{parallel.rank}.pt"))
parallel.close()
"""
    (tmp_path / "script.py").write_text(LOCAL + body)
    launch(repository, 2, tmp_path / "script.py", tmp_path)
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for step, ((meets, mine), (_, other)) in enumerate(zip(*both, strict=True)):
        assert meets == (step in (2, 5, 8))
        same = all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))
        assert same == meets

    # The same by hand: two that know nothing of each other, and a mean after the third and the sixth update.
    space: dict[str, Any] = {}
    exec(LOCAL, space)
    config = space["TrainConfig"].load(tmp_path / "config.yaml")
    pair = [space["learner"](config, Parallel()) for _ in range(2)]
    for step in range(8):
        for rank, it in enumerate(pair):
            data = space["batch"](rank, step)
            if len(data.targets):
                it.update(config.phases[0], data, 0.0)
            else:
                it.step += 1
        if step in (2, 5, 7):
            for tensors in zip(*([*it.trained.state_dict().values(), *it.ema.values()] for it in pair), strict=True):
                if tensors[0].is_floating_point():
                    mean = sum(tensors) / 2
                    for x in tensors:
                        x.data.copy_(mean)
    for a, b in zip(space["weights"](pair[0]), both[0][-1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


UNEVEN = """
import json, sys
from pathlib import Path
import torch
from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.config import TrainConfig
from edge_asr.training.crf import Bigram
from edge_asr.training.learner import Learner
from edge_asr.training.parallel import Parallel

parallel = Parallel.start("cpu")
config = TrainConfig.load(Path(sys.argv[1], "config.yaml"))
torch.manual_seed(0)
bigram = Bigram.count([(1, 2), (2, 3, 1)], 79)
it = Learner(config, AsrModel(config.model), torch.device("cpu"), teacher_dim=6, parallel=parallel, bigram=bigram)
generator = torch.Generator().manual_seed(1)
mels = torch.randn(4, 4 * 20 + 3, 80, generator=generator)
states = torch.randn(4, 20, 6, generator=generator)
pieces, phones = [[1, 2], [3], [4, 5, 6], [7]], [[3, 4, 5], [], [6, 7, 8, 9, 10], []]  # two lack pronunciations
known = [20, 0, 7, 3]  # frames with states
own = range(parallel.rank, 4, parallel.size)
def flat(rows):
    return torch.tensor([x for i in own for x in rows[i]], dtype=torch.int64)
def counts(rows):
    return torch.tensor([len(rows[i]) for i in own])
def share():
    return Batch(mels[list(own)], torch.tensor([20] * len(own)), flat(pieces), counts(pieces), 1.0, [""] * len(own), 1,
                 states[list(own)], torch.tensor([known[i] for i in own]), flat(phones), counts(phones))
found = [it.update(config.phases[0], share(), 0.0)]
own = [0]  # as a loader gives a process that is left without an utterance: the first one's, without its texts
if parallel.rank:
    pieces, phones = [[]], [[]]
found.append(it.update(config.phases[0], share(), 0.0))
if parallel.leads:
    Path(sys.argv[1], f"{parallel.size}.json").write_text(json.dumps(found))
parallel.close()
"""


def test_losses_on_phones_and_states_are_means_over_the_whole_batch(tmp_path: Path, repository: Path) -> None:
    values = VALUES | {
        "model": VALUES["model"] | {"phones": 79},
        "data": {"teacher": True},
        "optim": VALUES["optim"] | {"phones": 0.5, "crf": 0.9, "teacher": 1.0, "teacher_exits": [1, 2]},
        "phases": [{}],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "script.py").write_text(UNEVEN)
    for processes in (1, 2):
        launch(repository, processes, tmp_path / "script.py", tmp_path)
    one, two = (json.loads((tmp_path / f"{processes}.json").read_text()) for processes in (1, 2))
    for alone, shared in zip(one, two, strict=True):
        for name in ("phones", "teacher", "norm", "losses"):
            assert shared[name] == pytest.approx(alone[name], rel=2e-3)
