"""The trainer: one loop for CPU and CUDA that can be stopped at any moment and goes on where it was."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge_asr.errors import DataError
from edge_asr.model.model import AsrModel
from edge_asr.training.checkpoint import read_checkpoint, save_checkpoint
from edge_asr.training.config import Phase, TrainConfig
from edge_asr.training.data.augment import Augmenter
from edge_asr.training.data.batches import Batch, Loader, open_store, read_part, sample_cuts
from edge_asr.training.loss import ctc_losses, splice
from edge_asr.training.optimizer import build_optimizers, rate
from edge_asr.training.progress import Moment, Reporter
from edge_asr.training.scoring import exit_wers
from edge_asr.training.tokenizer import Tokenizer


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is native: on CUDA, or a CPU with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class Trainer:
    """Trains a model in a folder: ``last.pt`` (all that is needed to go on), CSV logs and ``tokenizer.model``.

    Args:
        config: the run.
        prepared: folder written by ``scripts/prepare_data.py``.
        out: folder of the run; a ``last.pt`` there is resumed.
        device: ``cpu`` or ``cuda``.
        init: weights to start from (a state dict), for fine-tuning or branching a run.
        tokenizer: to be used with ``init``; trained on the transcripts otherwise.

    Example:
        >>> config = TrainConfig.load(Path("scripts/configs/en-tiny.yaml"))  # doctest: +SKIP
        >>> Trainer(config, Path("prepared"), Path("run")).run()  # doctest: +SKIP
    """

    def __init__(
        self,
        config: TrainConfig,
        prepared: Path,
        out: Path,
        *,
        device: str = "cpu",
        init: dict[str, torch.Tensor] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.config, self.out, self.device = config, out, torch.device(device)
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        corpora = read_part(prepared, "train", config.data.train)
        dev = read_part(prepared, "dev", config.data.dev)
        store = open_store(prepared, "train", list(corpora), config.data.speeds)
        dev_store = open_store(prepared, "dev", list(dev), (1.0,))
        saved = read_checkpoint(out / "last.pt") if (out / "last.pt").exists() else None
        self.tokenizer = self._tokenizer(
            saved, tokenizer, [c.supervisions[0].text for cuts in corpora.values() for c in cuts]
        )
        mean, std = store.mean_and_std()
        self.model = AsrModel(config.model)
        self.model.frontend.subsampling.mean.copy_(torch.from_numpy(mean))
        self.model.frontend.subsampling.std.copy_(torch.from_numpy(std))
        if init is not None:
            self.model.load_state_dict(init)
        self.model.to(self.device)
        self.ema = {name: p.detach().clone() for name, p in self.model.state_dict().items()}
        self.optimizers = build_optimizers(self.model, config.optim)
        noise_path = prepared / "noise" / "noise.npy"
        noise = np.load(noise_path) if noise_path.exists() else None
        self.loader = Loader(
            corpora,
            store,
            self.tokenizer,
            Augmenter(config.augment, mean, noise),
            config.data,
            batch_seconds=config.optim.batch_seconds,
            seed=config.seed,
        )
        scorer = Loader(dev, dev_store, self.tokenizer, None, config.data, batch_seconds=60.0, seed=0)
        self.dev = {
            name: _batches(scorer, sample_cuts(cuts, config.data.dev_utterances, seed=7)) for name, cuts in dev.items()
        }
        self.step, self.phase, self.epoch, self.batch, self.elapsed = 0, 0, 0, 0, 0.0
        self.stopped = False
        if saved is not None:
            self._resume(saved)

    def _tokenizer(self, saved: dict[str, Any] | None, given: Tokenizer | None, texts: list[str]) -> Tokenizer:
        if saved is not None:
            return Tokenizer(saved["tokenizer"].numpy().tobytes())
        tokenizer = given or Tokenizer.train(sorted(set(texts)), self.config.model.vocabulary)
        if len(tokenizer) != self.config.model.vocabulary:
            raise DataError(
                f"tokeniser has {len(tokenizer)} tokens, the model's vocabulary is {self.config.model.vocabulary}"
            )
        (self.out / "tokenizer.model").write_bytes(tokenizer.model)
        return tokenizer

    def _resume(self, saved: dict[str, Any]) -> None:
        if saved["config"]["model"] != self.config.model.to_dict():
            raise DataError(f"checkpoint in {str(self.out)!r} holds a model of other sizes: choose another folder")
        self.model.load_state_dict(saved["model"])
        self.ema = {name: p.to(self.device) for name, p in saved["ema"].items()}
        for (optimizer, _), state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        for name in ("step", "phase", "epoch", "batch", "elapsed"):
            setattr(self, name, saved[name])

    def save(self) -> None:
        """Writes ``last.pt``."""
        save_checkpoint(
            self.out / "last.pt",
            {
                "model": self.model.state_dict(),
                "ema": self.ema,
                "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
                "tokenizer": torch.frombuffer(bytearray(self.tokenizer.model), dtype=torch.uint8),
                "config": self.config.to_dict(),
                "corpora": {name: sum(c.duration for c in cuts) / 3600 for name, cuts in self.loader.corpora.items()},
                "step": self.step,
                "phase": self.phase,
                "epoch": self.epoch,
                "batch": self.batch,
                "elapsed": self.elapsed,
            },
        )

    @property
    def progress(self) -> float:
        """Share of the run done, by the clock where ``minutes`` is set, else by updates."""
        optim = self.config.optim
        return min(1.0, self.elapsed / (60 * optim.minutes) if optim.minutes else self.step / optim.steps)

    @property
    def moment(self) -> Moment:
        """Where the run stands."""
        return Moment(self.step, self.phase, self.epoch, self.elapsed, self.progress)

    def _phase(self) -> Phase:
        """The current phase.

        Moves on to the next one, with a new epoch, when its share of the run has passed.
        """
        while self.progress >= self.config.phases[self.phase].until and self.phase + 1 < len(self.config.phases):
            self.phase, self.epoch, self.batch = self.phase + 1, 0, 0
        return self.config.phases[self.phase]

    def _stream(self) -> Iterator[tuple[Phase, Batch]]:
        while self.progress < 1.0:
            phase, number = self._phase(), self.phase
            for batch in self.loader.epoch(phase, self.phase, self.epoch, self.batch):
                yield phase, batch
                self.batch += 1
                self._phase()
                if self.phase != number or self.progress >= 1.0:
                    break
            else:
                self.epoch, self.batch = self.epoch + 1, 0

    def update(self, phase: Phase, batch: Batch) -> dict[str, Any]:
        """One optimiser step; returns what is logged."""
        optim = self.config.optim
        rng = np.random.default_rng([self.config.seed, self.step])
        chunk = int(rng.choice(list(optim.chunks), p=_shares(optim.chunks)))
        look_ahead = int(rng.choice(list(optim.look_ahead), p=_shares(optim.look_ahead)))
        exits = (
            int(rng.choice(list(phase.depths), p=_shares(phase.depths))) if phase.depths else self.config.model.exits
        )
        factor = rate(optim, self.step, self.progress)
        for optimizer, peak in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
        self.model.train()
        cast = torch.autocast(self.device.type, torch.bfloat16) if has_fast_bf16(self.device) else nullcontext()
        with cast:
            log_probs = self.model(
                batch.mels.to(self.device),
                batch.lengths.to(self.device),
                chunk=chunk or None,
                look_ahead=look_ahead,
                depth=exits,
            ).float()
        if phase.splice and chunk:
            generator = torch.Generator().manual_seed(self.step)
            log_probs = torch.cat([log_probs, splice(log_probs, chunk, generator)[None]])
        losses = ctc_losses(log_probs, batch)
        weights = torch.tensor((optim.exit_weights or (1.0,) * exits)[:exits], device=losses.device)
        loss = (losses[:exits] * weights).sum() / weights.sum() + phase.splice * losses[exits:].sum()
        for optimizer, _ in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), optim.clip)
        if torch.isfinite(norm):
            for optimizer, _ in self.optimizers:
                optimizer.step()
            decay = min(optim.ema, (1 + self.step) / (10 + self.step))
            for name, p in self.model.state_dict().items():
                self.ema[name].lerp_(p, 1 - decay) if p.is_floating_point() else self.ema[name].copy_(p)
        self.step += 1
        return {
            "losses": [round(float(x), 4) for x in losses[:exits].detach()],
            "splice": round(float(losses[exits:].detach().sum()), 4),
            "norm": round(float(norm), 3),
            "rate": factor,
            "chunk": chunk,
        }

    def evaluate(self) -> dict[str, list[float]]:
        """WER per exit of the averaged weights on each dev sample, at 640 ms."""
        model = AsrModel(self.config.model).to(self.device)
        model.load_state_dict(self.ema)
        return {name: exit_wers(model.eval(), batches, self.tokenizer) for name, batches in self.dev.items()}

    def run(self, *, save_minutes: float = 3.0, dev_minutes: float = 6.0, reporter: Reporter | None = None) -> None:
        """Trains to the end of the schedule, or until SIGINT or SIGTERM, saving on the way."""
        reporter = reporter or Reporter(self.out, self.config)
        handlers = {
            s: signal.signal(s, lambda *_: setattr(self, "stopped", True)) for s in (signal.SIGINT, signal.SIGTERM)
        }
        saved = scored = time.monotonic()
        last = time.monotonic()
        try:
            with reporter:
                for phase, batch in self._stream():
                    row = self.update(phase, batch)
                    now = time.monotonic()
                    self.elapsed, spent, last = self.elapsed + now - last, now - last, now
                    reporter.train(self.moment, row, batch.seconds, spent)
                    if self.stopped:
                        break
                    if now - saved > 60 * save_minutes:
                        self.save()
                        saved = time.monotonic()
                    if now - scored > 60 * dev_minutes:
                        reporter.dev(self.moment, self.evaluate())
                        scored = time.monotonic()
                    # Saving and scoring count as training time: the clock is the schedule.
                self.batch += 1 if self.stopped else 0
                self.save()
                if not self.stopped:
                    reporter.dev(self.moment, self.evaluate())
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _shares(values: dict[int, float]) -> list[float]:
    return [v / sum(values.values()) for v in values.values()]


def _batches(loader: Loader, cuts: list[Any]) -> list[Batch]:
    """Dev batches of 8 utterances, sorted by length."""
    return [loader.collate(cuts[i : i + 8], None) for i in range(0, len(cuts), 8)]
