"""The trainer: one loop for CPU and CUDA that can be stopped at any moment and goes on where it was."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge_asr.errors import DataError, OptionError
from edge_asr.model.config import ModelConfig
from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.checkpoint import changes, digest, read_checkpoint, save_checkpoint
from edge_asr.training.config import Phase, TrainConfig
from edge_asr.training.crf import Bigram
from edge_asr.training.data.augment import Augmenter
from edge_asr.training.data.batches import open_store, read_part
from edge_asr.training.data.prefetch import prefetched
from edge_asr.training.data.share import ShareLoader
from edge_asr.training.data.teacher import StateStore
from edge_asr.training.dev_sets import DevSets
from edge_asr.training.learner import Learner
from edge_asr.training.parallel import Parallel
from edge_asr.training.phones import TABLE, Pronunciations
from edge_asr.training.progress import Moment, Reporter, scored_step
from edge_asr.training.scoring import Score
from edge_asr.training.tokenizer import Tokenizer

AHEAD = 4  # batches made in advance for a GPU, which would wait for them otherwise


class Trainer:
    """Trains a model in a folder: ``last.pt`` (all that is needed to go on), CSV logs and ``tokenizer.model``.

    Args:
        config: the run.
        prepared: folder written by ``scripts/prepare_data.py``.
        out: folder of the run; a ``last.pt`` there is resumed.
        device: ``cpu`` or ``cuda``.
        init: weights to start from (a state dict), for fine-tuning or branching a run.
        tokenizer: to be used with ``init``; trained on the transcripts otherwise.
        earlier: the runs that ``init`` comes from, see ``weights.lineage``; kept in checkpoints for the model card.
        parallel: the processes that train together, on one ``out``; this one alone by default. The first one saves.

    Raises:
        OptionError: the model's phones are not those of the pronunciations that ``optim.phones`` asks for, or ``out``
            holds a run with other options (`checkpoint.MAY_CHANGE` may differ).
        DataError: the prepared folder lacks something, or ``out`` holds a run of another model, on other recordings, or
            from other weights.

    Example:
        >>> config = TrainConfig.load(Path("scripts/configs/mini.yaml"))  # doctest: +SKIP
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
        earlier: list[dict[str, Any]] | None = None,
        parallel: Parallel | None = None,
    ) -> None:
        if config.optim.phones and config.model.phones != len(TABLE):
            allowed = f"{len(TABLE)} (blank and {len(TABLE) - 1} phones), or optim.phones: 0"
            raise OptionError(f"model option phones is {config.model.phones!r}; allowed: {allowed}")
        self.earlier, self.parallel = earlier or [], parallel or Parallel()
        self.config, self.out = config, out
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        corpora = read_part(prepared, "train", config.data.train)
        store = open_store(prepared, "train", list(corpora), config.data.speeds)
        saved = read_checkpoint(out / "last.pt") if (out / "last.pt").exists() else None
        texts = [c.supervisions[0].text for cuts in corpora.values() for c in cuts]
        self.tokenizer = self._tokenizer(saved, tokenizer, texts)
        mean, std = store.mean_and_std()
        model = AsrModel(config.model)
        model.frontend.subsampling.mean.copy_(torch.from_numpy(mean))
        model.frontend.subsampling.std.copy_(torch.from_numpy(std))
        if init is not None:
            model.load_state_dict(init)
        states = StateStore.open(prepared, list(corpora)) if config.data.teacher else None
        self.taught_by = states.about if states is not None and config.optim.teacher else ""
        said = self._pronunciations(prepared / "pronunciations.dict") if config.optim.phones else None
        bigram = None
        if said is not None and config.optim.crf:
            known = (ids for text in texts if (ids := said.encode(text)))
            bigram = Bigram.count(known, config.model.phones)
        self.learner = Learner(
            config,
            model,
            torch.device(device),
            teacher_dim=states.dim if states else 0,
            parallel=self.parallel,
            bigram=bigram,
        )
        torch.manual_seed(config.seed + 1000 * self.parallel.rank)  # dropout differs by process
        noise_path = prepared / "noise" / "noise.npy"
        noise = np.load(noise_path) if noise_path.exists() else None
        self.loader = ShareLoader(
            self.parallel,
            corpora,
            store,
            self.tokenizer,
            Augmenter(config.augment, mean, noise),
            config.data,
            batch_seconds=config.optim.batch_seconds,
            seed=config.seed,
            views=config.optim.views,
            states=states,
            pronunciations=said,
        )
        self.loader.check()
        self.dev = DevSets(config, prepared, self.tokenizer)
        self.phase, self.epoch, self.batch, self.elapsed = 0, 0, 0, 0.0
        self.stopped = False
        self._init = digest(init) if init is not None else ""
        self._score_first = init is not None and saved is None
        if saved is not None:
            self._resume(saved)

    def _pronunciations(self, path: Path) -> Pronunciations:
        if not path.exists():
            how = "make it with scripts/prepare_data.py --pronunciations, or set optim.phones (and optim.crf) to 0"
            raise DataError(f"optim.phones needs pronunciations, and {str(path)!r} does not exist: {how}")
        return Pronunciations.read(path)

    def _tokenizer(self, saved: dict[str, Any] | None, given: Tokenizer | None, texts: list[str]) -> Tokenizer:
        if saved is not None:
            return Tokenizer(saved["tokenizer"].numpy().tobytes())
        path = self.out / "tokenizer.model"
        with self.parallel.leader_first():
            if given is not None:
                tokenizer = given
            elif self.parallel.leads:
                tokenizer = Tokenizer.train(sorted(set(texts)), self.config.model.vocabulary)
            else:
                tokenizer = Tokenizer(path.read_bytes())
            if len(tokenizer) != self.config.model.vocabulary:
                raise DataError(
                    f"tokeniser has {len(tokenizer)} tokens, the model's vocabulary is {self.config.model.vocabulary}"
                )
            if self.parallel.leads:
                path.write_bytes(tokenizer.model)
        return tokenizer

    def _resume(self, saved: dict[str, Any]) -> None:
        if ModelConfig.from_dict(saved["config"]["model"]) != self.config.model:  # older ones lack options of today
            raise DataError(f"checkpoint in {str(self.out)!r} holds a model of other sizes: choose another folder")
        if found := changes(saved["config"], self.config):
            raise OptionError(f"checkpoint in {str(self.out)!r} was trained with other options: {'; '.join(found)}")
        hours, then = self._hours(), saved.get("corpora", {})
        for name in sorted(hours.keys() | then.keys()) if then else ():
            if abs(hours.get(name, 0.0) - then.get(name, 0.0)) > 1e-6:
                raise DataError(
                    f"checkpoint in {str(self.out)!r} learned from other recordings: {then.get(name, 0.0):.3f} h of "
                    f"corpus {name!r}, now {hours.get(name, 0.0):.3f} h; choose another folder"
                )
        if self._init and saved.get("init", self._init) != self._init:
            raise DataError(
                f"checkpoint in {str(self.out)!r} did not start from the weights that are given: leave them out to go "
                "on with it, or choose another folder"
            )
        self.learner.load_state(saved)
        self.earlier, self._init = saved.get("earlier", []), saved.get("init", self._init)
        for name in ("phase", "epoch", "batch", "elapsed"):
            setattr(self, name, saved[name])
        while self.phase and self.progress < self.config.phases[self.phase - 1].until:
            # The run has become longer since: what is left of it begins in an earlier phase.
            self.phase, self.epoch, self.batch = self.phase - 1, 0, 0

    def _hours(self) -> dict[str, float]:
        return {name: sum(c.duration for c in cuts) / 3600 for name, cuts in self.loader.corpora.items()}

    def save(self) -> None:
        """Writes ``last.pt``, if this process leads."""
        if not self.parallel.leads:
            return
        save_checkpoint(
            self.out / "last.pt",
            self.learner.state()
            | {
                "tokenizer": torch.frombuffer(bytearray(self.tokenizer.model), dtype=torch.uint8),
                "config": self.config.to_dict(),
                "corpora": self._hours(),
                "earlier": self.earlier,
                "init": self._init,
                "taught_by": self.taught_by,
                "phase": self.phase,
                "epoch": self.epoch,
                "batch": self.batch,
                "elapsed": self.elapsed,
            },
        )

    @property
    def step(self) -> int:
        """Updates done."""
        return self.learner.step

    @property
    def progress(self) -> float:
        """Share of the run done, by the clock where ``minutes`` is set, else by updates."""
        optim = self.config.optim
        return min(1.0, self.elapsed / (60 * optim.minutes) if optim.minutes else self.step / optim.steps)

    @property
    def finished(self) -> bool:
        """Whether the schedule has come to its end."""
        return self.progress >= 1.0

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
        while not self.finished:
            phase, number = self._phase(), self.phase
            ahead = AHEAD if self.learner.device.type == "cuda" else 0
            with closing(prefetched(self.loader.epoch(phase, self.phase, self.epoch, self.batch), ahead)) as batches:
                for batch in batches:
                    self.batch += 1  # before it is trained on: whoever saves meanwhile has trained on it
                    yield phase, batch
                    self._phase()
                    if self.phase != number or self.finished:
                        break
                else:
                    self.epoch, self.batch = self.epoch + 1, 0

    def evaluate(self) -> dict[str, Score]:
        """Word errors per exit of the averaged weights on each dev sample, see ``DevSets.score``."""
        return self.dev.score(self.learner.averaged())

    def run(self, *, save_minutes: float = 3.0, dev_minutes: float = 6.0, reporter: Reporter | None = None) -> None:
        """Trains to the end of the schedule, or until SIGINT or SIGTERM, saving on the way.

        A run that had come to its end is not touched; it is only scored, if it was killed before that.

        Args:
            save_minutes: between checkpoints.
            dev_minutes: between scorings on the dev sets, of which the first is before the first update of a run that
                starts from weights; 0: only at the end.
            reporter: writes the logs.
        """
        reporter = reporter or Reporter(self.out, self.config)
        handlers = {
            s: signal.signal(s, lambda *_: setattr(self, "stopped", True)) for s in (signal.SIGINT, signal.SIGTERM)
        }
        leads, device = self.parallel.leads, self.learner.device
        saved = scored = last = time.monotonic()
        try:
            with reporter if leads else nullcontext():
                if self.finished:
                    if leads and scored_step(self.out) != self.step:
                        reporter.dev(self.moment, self.evaluate())
                    return
                if leads and self._score_first and dev_minutes:
                    reporter.dev(self.moment, self.evaluate())  # what there was before
                    last = time.monotonic()
                for phase, batch in self._stream():
                    row = self.learner.update(phase, batch, self.progress)
                    now = time.monotonic()
                    self.elapsed, stop, seconds = self.parallel.agree(
                        self.elapsed + now - last, self.stopped, batch.seconds, device
                    )
                    spent, last = now - last, now
                    if leads:
                        reporter.train(self.moment, row, seconds, spent)
                    if stop or (self.stopped and self.parallel.size == 1):
                        self.stopped = True
                        break
                    if leads and self.learner.meets and now - saved > 60 * save_minutes:
                        self.save()
                        saved = time.monotonic()
                    if leads and self.learner.meets and dev_minutes and now - scored > 60 * dev_minutes:
                        reporter.dev(self.moment, self.evaluate())
                        scored = time.monotonic()
                    # Saving and scoring count as training time: the clock is the schedule.
                self.learner.meet()
                self.save()
                if leads and not self.stopped:
                    reporter.dev(self.moment, self.evaluate())
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
