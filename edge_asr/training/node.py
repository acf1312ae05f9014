"""Training from a pack on a borrowed node: features in device memory, batches made there.

Needs torch and numpy, and soundfile and soxr to decode.

    python -m edge_asr.training.node PACK --out OUT [--minutes 24]
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge_asr.errors import DataError, EdgeAsrError, OptionError
from edge_asr.model.logmel import LOG_FLOOR, LogMel
from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.config import Phase, TrainConfig
from edge_asr.training.data.device_augment import DeviceAugmenter
from edge_asr.training.data.features import read_audio, utterance_mels
from edge_asr.training.learner import Learner
from edge_asr.training.pack import PackSpec, Row, complete_shards, read_shard

Half = npt.NDArray[np.float16]
GROUP = 64  # utterances decoded by one task
PART_BYTES = 15 << 20  # largest file of weights


def decode(items: list[tuple[Row, bytes]], speeds: tuple[float, ...]) -> list[tuple[Row, list[Half]]]:
    """Audio files to features at each speed; runs in a process of its own."""
    torch.set_num_threads(1)
    logmel = LogMel()
    return [
        (row, [utterance_mels(logmel, read_audio(io.BytesIO(data), speed)) for speed in speeds]) for row, data in items
    ]


class Store:
    """Features of all utterances so far, in device memory, half precision."""

    def __init__(self, device: torch.device, bins: int) -> None:
        self.device = device
        self.mels = torch.zeros(0, bins, dtype=torch.float16, device=device)
        self.rows: list[Row] = []
        self.places: list[list[tuple[int, int]]] = []  # of each utterance and speed: first row, rows
        self._waiting: list[Tensor] = []
        self._end = 0

    def add(self, row: Row, mels: list[Half]) -> None:
        """Takes an utterance; it can be used after ``settle``."""
        places = []
        for one in mels:
            places.append((self._end, len(one)))
            self._end += len(one)
            self._waiting.append(torch.from_numpy(one))
        self.rows.append(row)
        self.places.append(places)

    def settle(self) -> None:
        """Moves what was added to the device."""
        if self._waiting:
            self.mels = torch.cat([self.mels, torch.cat(self._waiting).to(self.device)])
            self._waiting = []

    def batch(self, chosen: list[int], speeds: list[int], views: int = 1) -> Batch:
        """Pads utterances, each at one of its speeds and as often as there are views, on the device."""
        chosen, speeds = chosen * views, speeds * views
        first, count = torch.tensor([self.places[i][s] for i, s in zip(chosen, speeds, strict=True)]).T
        span = torch.arange(int(count.max()), device=self.device)[None]
        index = (first.to(self.device)[:, None] + span).clamp(max=len(self.mels) - 1)
        mels = self.mels[index].float()
        mels[span >= count.to(self.device)[:, None]] = LOG_FLOOR
        rows = [self.rows[i] for i in chosen]
        return Batch(
            mels,
            (count - 3) // 4,
            torch.tensor([t for row in rows for t in row.ids], dtype=torch.int64),
            torch.tensor([len(row.ids) for row in rows]),
            sum(row.seconds for row in rows),
            [row.text for row in rows],
            views,
        )


def plan(store: Store, config: TrainConfig, phase: Phase, rng: np.random.Generator) -> list[list[int]]:
    """Batches of one epoch over what is there: weighted corpora, alike lengths, ``batch_seconds`` with padding."""
    chosen: list[int] = []
    for i, row in enumerate(store.rows):
        weight = phase.weights.get(row.corpus, 1.0)
        times = int(weight) + int(rng.random() < weight - int(weight))
        chosen += [i] * (times if row.seconds <= phase.max_seconds else 0)
    chosen.sort(key=lambda i: store.rows[i].seconds * rng.uniform(0.9, 1.1))
    batches: list[list[int]] = [[]]
    longest = 0.0
    for i in chosen:
        longest = max(longest, store.rows[i].seconds)
        if batches[-1] and longest * (len(batches[-1]) + 1) * config.optim.views > config.optim.batch_seconds:
            batches.append([])
            longest = store.rows[i].seconds
        batches[-1].append(i)
    order = rng.permutation(len(batches))
    return [batches[i] for i in order if batches[i]]


def word_errors(reference: str, hypothesis: str) -> int:
    """Least number of word substitutions, insertions and deletions."""
    ref, hyp = reference.split(), hypothesis.split()
    costs = list(range(len(hyp) + 1))
    for i, word in enumerate(ref, 1):
        before, costs[0] = costs[0], i
        for j, other in enumerate(hyp, 1):
            before, costs[j] = costs[j], min(costs[j] + 1, costs[j - 1] + 1, before + (word != other))
    return costs[-1]


class Node:
    """One training run on one device."""

    def __init__(self, folder: Path, out: Path, device: torch.device, workers: int, minutes: float | None) -> None:
        self.folder, self.out, self.device = folder, out, device
        self.spec = PackSpec.read(folder)
        self.config = self.spec.config
        self.seconds = 60 * (minutes or self.config.optim.minutes)
        if not self.seconds > 0:
            raise OptionError("optim.minutes of the pack is 0; allowed: above 0, or --minutes")
        torch.manual_seed(self.config.seed)
        model = AsrModel(self.config.model)
        model.frontend.subsampling.mean.copy_(torch.tensor(self.spec.mean))
        model.frontend.subsampling.std.copy_(torch.tensor(self.spec.std))
        self.learner = Learner(self.config, model, device)
        self.store = Store(device, self.config.model.mels)
        noise = torch.from_numpy(np.load(folder / "noise.npy")) if (folder / "noise.npy").exists() else None
        mean = torch.tensor(self.spec.mean)
        self.augment = DeviceAugmenter(
            self.config.augment, mean.to(device), None if noise is None else noise.to(device)
        )
        # Not forked: a copy of a process that holds a device context is not safe to use.
        self.pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        self.started: set[str] = set()
        self.pending: list[Future[list[tuple[Row, list[Half]]]]] = []
        self.dev = self._dev()
        out.mkdir(parents=True, exist_ok=True)

    def _dev(self) -> list[Batch]:
        store = Store(self.device, self.config.model.mels)
        for row, mels in decode(list(read_shard(self.folder / "dev-000.tar")), (1.0,)):
            store.add(row, mels)
        store.settle()
        order = sorted(range(len(store.rows)), key=lambda i: store.rows[i].seconds)
        return [store.batch(order[i : i + 16], [0] * len(order[i : i + 16])) for i in range(0, len(order), 16)]

    def receive(self) -> None:
        """Starts decoding shards that have arrived, and takes what is decoded."""
        for path in complete_shards(self.folder, self.spec):
            if path.name not in self.started:
                self.started.add(path.name)
                items = list(read_shard(path))
                for i in range(0, len(items), GROUP):
                    self.pending.append(self.pool.submit(decode, items[i : i + GROUP], self.config.data.speeds))
        done = [f for f in self.pending if f.done()]
        for future in done:
            for row, mels in future.result():
                self.store.add(row, mels)
        self.pending = [f for f in self.pending if not f.done() or f not in done]
        self.store.settle()

    def batches(self, phase: Phase, number: int, epoch: int) -> Iterator[Batch]:
        """One epoch over what is there, augmented."""
        rng = np.random.default_rng([self.config.seed, number, epoch])
        for chosen in plan(self.store, self.config, phase, rng):
            speeds = rng.integers(0, len(self.config.data.speeds), len(chosen)).tolist()
            batch = self.store.batch(chosen, speeds, self.config.optim.views)
            generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
            yield self.augment(batch, generator)

    @torch.inference_mode()
    def evaluate(self) -> list[float]:
        """WER of each exit on the dev shard, averaged weights, 640 ms."""
        model = self.learner.averaged()
        errors, words = np.zeros(self.config.model.exits), 0
        for batch in self.dev:
            log_probs = model.from_mels(batch.mels, batch.lengths.to(self.device))
            best = log_probs[..., : self.config.model.vocabulary].argmax(dim=-1).cpu()
            words += sum(len(text.split()) for text in batch.texts)
            for exit, paths in enumerate(best):
                for path, length, text in zip(paths, batch.lengths.tolist(), batch.texts, strict=True):
                    ids = torch.unique_consecutive(path[:length]).tolist()
                    hypothesis = "".join(self.spec.pieces[i] for i in ids if i).replace("▁", " ")
                    errors[exit] += word_errors(text, hypothesis)
        return [round(float(e / words), 4) for e in errors]

    def save(self, status: dict[str, Any]) -> None:
        """Writes the averaged weights as bfloat16 in files of at most 15 MiB, then ``status.json``."""
        parts: list[dict[str, Any]] = [{}]
        size = 0
        for name, p in self.learner.ema.items():
            bits = p.detach().to(torch.bfloat16).cpu().view(torch.int16).numpy()
            if size + bits.nbytes > PART_BYTES and parts[-1]:
                parts.append({})
                size = 0
            parts[-1][name] = bits
            size += bits.nbytes
        for i, part in enumerate(parts):
            path = self.out / f"weights-{i}.npz"
            np.savez(path.with_name(path.name + ".part.npz"), **part)
            os.replace(path.with_name(path.name + ".part.npz"), path)
        (self.out / "status.json").write_text(json.dumps(status | {"parts": len(parts)}))

    def run(self, save_seconds: float = 180.0, least_utterances: int = 200) -> dict[str, Any]:
        """Trains until the time is over; returns the last status."""
        start = saved = time.monotonic()
        while len(self.store.rows) < least_utterances and (self.pending or not self.store.rows):
            self.receive()
            time.sleep(0.05)
            if not self.pending and not self.store.rows and time.monotonic() - start > 600:
                raise DataError(f"pack {str(self.folder)!r}: no shard arrived within ten minutes")
        number = epoch = 0
        audio, status = 0.0, {}
        log = (self.out / "train.csv").open("w", newline="")
        writer = csv.writer(log)
        writer.writerow(["step", "seconds", "utterances", "audio_per_second", "norm", "rate", "losses"])
        while (progress := (time.monotonic() - start) / self.seconds) < 1.0:
            while progress >= self.config.phases[number].until:
                number += 1
            phase, known = self.config.phases[number], len(self.store.rows)
            for batch in self.batches(phase, number, epoch):
                now = time.monotonic()
                progress = (now - start) / self.seconds
                if progress >= 1.0 or progress >= phase.until:
                    break
                row = self.learner.update(phase, batch, progress)
                audio += batch.seconds
                if self.learner.step % 20 == 0:
                    speed = round(audio / (now - start))
                    losses = " ".join(map(str, row["losses"]))
                    writer.writerow(
                        [self.learner.step, round(now - start), known, speed, row["norm"], row["rate"], losses]
                    )
                    log.flush()
                if now - saved > save_seconds:
                    status = self.status(now - start, audio)
                    saved = time.monotonic()
                self.receive()
                if len(self.store.rows) > 1.2 * known:
                    break
            epoch += 1
        status = self.status(time.monotonic() - start, audio) | {"finished": True}
        self.save(status)
        log.close()
        self.pool.shutdown(cancel_futures=True)
        return status

    def status(self, seconds: float, audio: float) -> dict[str, Any]:
        """Scores, saves and prints."""
        status = {
            "step": self.learner.step,
            "elapsed": round(seconds),
            "audio_per_second": round(audio / seconds),
            "utterances": len(self.store.rows),
            "dev_wer": self.evaluate(),
            "finished": False,
        }
        self.save(status)
        print(json.dumps(status), flush=True)
        return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, help="length of the schedule (default: the configuration's)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--save-seconds", type=float, default=180.0)
    args = parser.parse_args()
    try:
        Node(args.pack, args.out, torch.device(args.device), args.workers, args.minutes).run(args.save_seconds)
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
