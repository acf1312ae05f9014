"""Batches.

Utterances of alike length from weighted corpora, in an order that a seed fixes and a resumed run finds
again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from lhotse import CutSet, MonoCut
from lhotse.dataset import DynamicBucketingSampler
from torch import Tensor

from edge_asr.errors import DataError
from edge_asr.model.logmel import LOG_FLOOR
from edge_asr.training.batch import Batch
from edge_asr.training.config import DataConfig, Phase
from edge_asr.training.data.augment import Augmenter, paced
from edge_asr.training.data.features import MelStore, feature_path
from edge_asr.training.data.teacher import StateStore
from edge_asr.training.phones import Pronunciations
from edge_asr.training.tokenizer import Tokenizer


def read_part(prepared: Path, split: str, corpora: tuple[str, ...]) -> dict[str, list[MonoCut]]:
    """Cuts of a prepared folder's split, by corpus; all corpora if none is named."""
    folders = sorted(p.parent for p in (prepared / split).glob("*/cuts.jsonl.gz"))
    known = {p.name: p for p in folders}
    for name in corpora:
        if name not in known:
            raise DataError(
                f"corpus {name!r} is not prepared in {str(prepared / split)!r}; there: {', '.join(known) or 'nothing'}"
            )
    names = corpora or tuple(known)
    if not names:
        raise DataError(f"folder {str(prepared / split)!r} holds no prepared corpus: run scripts/prepare_data.py first")
    return {name: list(CutSet.from_file(known[name] / "cuts.jsonl.gz")) for name in names}


def open_store(prepared: Path, split: str, corpora: list[str], speeds: tuple[float, ...]) -> MelStore:
    """The cached features of corpora at the given speeds."""
    return MelStore([feature_path(prepared, split, name, speed) for name in corpora for speed in speeds])


def usable(cut: MonoCut, config: DataConfig) -> bool:
    """Whether an utterance is long enough and its transcript is believed."""
    check = (cut.custom or {}).get("check", 0.0)
    return bool(cut.duration >= config.min_seconds and check <= config.max_check)


def epoch_cuts(corpora: dict[str, list[MonoCut]], phase: Phase, rng: np.random.Generator) -> list[MonoCut]:
    """One epoch: each corpus as often as its weight says, a fractional rest as a random part.

    Each copy has an id of its own; its recording keeps the utterance's.
    """
    chosen: list[MonoCut] = []
    for name, cuts in sorted(corpora.items()):
        weight = phase.weights.get(name, 1.0)
        fitting = [c for c in cuts if c.duration <= phase.max_seconds]
        chosen += fitting * int(weight)
        part = round((weight - int(weight)) * len(fitting))
        chosen += [fitting[i] for i in rng.permutation(len(fitting))[:part]]
    if not chosen:
        raise DataError("the phase's weights and max_seconds leave no utterance to train on")
    return [cut.with_id(f"{cut.id}#{i}") for i, cut in enumerate(chosen)]


class Loader:
    """Makes batches of an epoch.

    The same (phase, epoch) gives the same batches, so a run resumes by their number.
    """

    def __init__(
        self,
        corpora: dict[str, list[MonoCut]],
        store: MelStore,
        tokenizer: Tokenizer,
        augmenter: Augmenter | None,
        config: DataConfig,
        *,
        batch_seconds: float,
        seed: int,
        views: int = 1,
        states: StateStore | None = None,
        pronunciations: Pronunciations | None = None,
    ) -> None:
        self.corpora = {name: [c for c in cuts if usable(c, config)] for name, cuts in corpora.items()}
        self.store, self.tokenizer, self.augmenter, self.config = store, tokenizer, augmenter, config
        self.batch_seconds, self.seed, self.views, self.states = batch_seconds, seed, views, states
        self.pronunciations = pronunciations
        self._ids: dict[str, list[int]] = {}

    def check(self) -> None:
        """Checks what a run would otherwise stop at somewhere on its way.

        Raises:
            DataError: an utterance has no features at a speed, or a transcript that the tokeniser can't spell.
        """
        for name, cuts in self.corpora.items():
            self.store.check(cuts, self.config.speeds)
            for cut in cuts:
                try:
                    self._encode(cut.supervisions[0].text)
                except DataError as error:
                    raise DataError(f"corpus {name!r}, utterance {cut.id!r}: {error}") from error

    def epoch(self, phase: Phase, phase_number: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """Batches of one epoch, beginning after the first ``skip``."""
        cuts = epoch_cuts(self.corpora, phase, np.random.default_rng([self.seed, phase_number, epoch]))
        if len(cuts) == 1:  # the sampler would have two buckets at least
            if not skip:
                yield self.collate(cuts, np.random.default_rng([self.seed, phase_number, epoch, 0]))
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it would rather read cuts lazily; these fit in memory
            sampler = DynamicBucketingSampler(
                CutSet.from_cuts(cuts),
                max_duration=self.batch_seconds / self.views,
                num_buckets=min(40, max(2, len(cuts) // 50)),
                shuffle=True,
                seed=self.seed + 1000 * phase_number + epoch,
                buffer_size=len(cuts),
                world_size=1,  # all processes of a run draw the same batches, see parallel.py
                rank=0,
            )
        for number, chosen in enumerate(sampler):
            if number >= skip:
                yield self.collate(list(chosen), np.random.default_rng([self.seed, phase_number, epoch, number]))

    def collate(self, cuts: list[MonoCut], rng: np.random.Generator | None) -> Batch:
        """Loads, augments (where a generator is given; as many views as there are) and pads utterances."""
        augmenter, views = (self.augmenter, self.views) if rng is not None else (None, 1)
        speed = 1.0 if rng is None else float(rng.choice(self.config.speeds))  # one for all: lengths stay alike
        clean = [torch.from_numpy(self.store.get(cut.recording.id, speed).astype(np.float32)) for cut in cuts]
        rows, pace = clean, 1.0
        if rng is not None and augmenter is not None:
            if augmenter.config.pace:
                pace += rng.uniform(-augmenter.config.pace, augmenter.config.pace)
                clean = [paced(mels, pace) for mels in clean]
            tails = [4 * int(rng.integers(0, augmenter.config.tail_frames + 1)) for _ in cuts]
            rows = [
                torch.nn.functional.pad(augmenter(mels, rng), (0, 0, 0, tail), value=LOG_FLOOR)
                for _ in range(views)
                for mels, tail in zip(clean, tails, strict=True)
            ]
        cuts = cuts * views
        lengths = torch.tensor([(len(r) - 3) // 4 for r in rows])
        mels = torch.full((len(rows), 4 * int(lengths.max()) + 3, rows[0].shape[1]), LOG_FLOOR)
        for i, row in enumerate(rows):
            used = 4 * int(lengths[i]) + 3
            mels[i, :used] = row[:used]
        texts = [cut.supervisions[0].text for cut in cuts]
        ids = [self._encode(text) for text in texts]
        return Batch(
            mels,
            lengths,
            torch.tensor([i for t in ids for i in t], dtype=torch.int64),
            torch.tensor([len(t) for t in ids]),
            sum(cut.duration for cut in cuts),
            texts,
            views,
            *self._states(cuts, speed * pace, int(lengths.max())),
            *self._phones(texts),
        )

    def _states(self, cuts: list[MonoCut], speed: float, frames: int) -> tuple[Tensor | None, Tensor | None]:
        if self.states is None:
            return None, None
        states = torch.zeros(len(cuts), frames, self.states.dim)
        lengths = torch.zeros(len(cuts), dtype=torch.int64)
        for i, cut in enumerate(cuts):
            found = self.states.get(cut.recording.id, speed)
            if found is not None:
                lengths[i] = min(len(found), frames)
                states[i, : lengths[i]] = torch.from_numpy(found[: lengths[i]])
        return states, lengths

    def _phones(self, texts: list[str]) -> tuple[Tensor | None, Tensor | None]:
        if self.pronunciations is None:
            return None, None
        ids = [self.pronunciations.encode(text) or [] for text in texts]
        flat = torch.tensor([i for row in ids for i in row], dtype=torch.int64)
        return flat, torch.tensor([len(row) for row in ids])

    def _encode(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = self.tokenizer.encode(text)
        return self._ids[text]


def sample_cuts(cuts: list[MonoCut], count: int, seed: int) -> list[MonoCut]:
    """A seeded sample, sorted by duration so that batches pad little."""
    order: npt.NDArray[np.int64] = np.random.default_rng(seed).permutation(len(cuts))[:count]
    return sorted((cuts[i] for i in order), key=lambda c: c.duration)
