"""Typed configuration of a training run, read from YAML."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from edge_asr.errors import OptionError
from edge_asr.model.config import ModelConfig
from edge_asr.training.fields import checked

T = TypeVar("T")
PRECISIONS = ("auto", "float32", "bfloat16")
WIDEST = 80  # mel bins: what a mask may hide


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise OptionError(f"training option {name} is {value!r}; allowed: {allowed}")


def _build(cls: type[T], values: Any, where: str) -> T:
    if not isinstance(values, dict):
        raise OptionError(f"training option {where} is {values!r}; allowed: a mapping")
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    for name in values:
        _require(name in known, f"{where}.{name}", values[name], "one of " + ", ".join(sorted(known)))
    return cls(**checked(cls, values, where))


def _are_shares(shares: dict[int, float]) -> bool:
    """Whether one of the keys can be drawn: none has a negative share, and not all have 0."""
    return all(share >= 0 for share in shares.values()) and sum(shares.values()) > 0


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run with its own mixture of corpora.

    Attributes:
        until: share of the run at which the phase ends, up to 1.
        weights: corpus → how many times an epoch holds it (fractions take a random part); corpora not
            named count once.
        max_seconds: longer utterances are left out.
        splice: weight of the CTC loss on spliced sequences.
        depths: how many exits are computed → share of batches; all of them if empty. Shallow batches are cheap, and
            early in a run, when all exits are equally wrong, they teach as much.
        patterns: share of the batches with chunks in which each chunk leaves at a random exit, as in the runtime, and
            only the splice is scored. Needed by encoders whose caches feel it; for pure segments it is ``splice``.
    """

    until: float = 1.0
    weights: dict[str, float] = field(default_factory=dict)
    max_seconds: float = 20.0
    splice: float = 0.0
    depths: dict[int, float] = field(default_factory=dict)
    patterns: float = 0.0

    def __post_init__(self) -> None:
        _require(0 < self.until <= 1, "phases.until", self.until, "above 0, up to 1")
        _require(all(w >= 0 for w in self.weights.values()), "phases.weights", self.weights, "0 or more each")
        _require(self.max_seconds > 0, "phases.max_seconds", self.max_seconds, "above 0")
        _require(self.splice >= 0, "phases.splice", self.splice, "0 or more")
        _require(0 <= self.patterns <= 1, "phases.patterns", self.patterns, "0 to 1")
        _require(all(n >= 1 for n in self.depths), "phases.depths", self.depths, "numbers of exits from 1")
        _require(not self.depths or _are_shares(self.depths), "phases.depths", self.depths, "shares from 0, not all 0")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which utterances are used, below the folder that ``scripts/prepare_data.py`` wrote.

    Attributes:
        train: corpora of the training part; all that are there if empty.
        dev: corpora of the dev part, scored during training.
        dev_utterances: how many of each (a seeded sample).
        speeds: factors of speed perturbation; each must have been cached.
        max_check: utterances whose ``check`` field is above this are left out (transcript and recording
            disagree).
        min_seconds: shorter utterances are left out.
        teacher: load the states that ``scripts/teach.py`` cached; corpora without them are learned from transcripts
            alone.
    """

    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    dev_utterances: int = 80
    speeds: tuple[float, ...] = (1.0,)
    max_check: float = 0.4
    min_seconds: float = 0.6
    teacher: bool = False

    def __post_init__(self) -> None:
        _require(self.dev_utterances >= 1, "data.dev_utterances", self.dev_utterances, "at least 1")
        _require(
            len(self.speeds) > 0 and all(0.5 <= s <= 2 for s in self.speeds),
            "data.speeds",
            self.speeds,
            "0.5 to 2, at least one",
        )


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Augmentation in the log-mel domain.

    Attributes:
        gain_db: loudness is changed by up to this much, either way.
        equalize_db: a curve of gains is laid over the mel axis, straight lines between corners of up to this much
            either way: other microphones and rooms (FilterAugment, arXiv 2110.03282).
        noise_probability: share of utterances mixed with noise.
        snr_db: range of signal-to-noise ratios.
        bandwidth_probability: share of utterances whose highest mel bins are cut, as by a codec or a
            telephone.
        frequency_warp: the mel axis is stretched by up to this share, either way, about its lower end: other vocal
            tracts (VTLP, Jaitly and Hinton 2013).
        pace: speech is made faster or slower by up to this share, its pitch unchanged; one draw a batch.
        frequency_masks: SpecAugment masks in frequency (arXiv 1904.08779).
        frequency_width: widest such mask, mel bins.
        time_masks: SpecAugment masks in time.
        time_width: widest such mask, mel rows of 10 ms.
        time_share: at most this share of an utterance is masked by one mask.
        tail_frames: up to this many frames of digital silence follow an utterance.
    """

    gain_db: float = 8.0
    equalize_db: float = 0.0
    noise_probability: float = 0.3
    snr_db: tuple[float, float] = (5.0, 30.0)
    bandwidth_probability: float = 0.1
    frequency_warp: float = 0.0
    pace: float = 0.0
    frequency_masks: int = 2
    frequency_width: int = 16
    time_masks: int = 2
    time_width: int = 30
    time_share: float = 0.1
    tail_frames: int = 12

    def __post_init__(self) -> None:
        for name in ("gain_db", "frequency_masks", "frequency_width", "time_masks", "time_width", "tail_frames"):
            _require(getattr(self, name) >= 0, f"augment.{name}", getattr(self, name), "0 or more")
        _require(self.frequency_width <= WIDEST, "augment.frequency_width", self.frequency_width, f"0 to {WIDEST} bins")
        _require(0 <= self.time_share <= 1, "augment.time_share", self.time_share, "0 to 1")
        _require(0 <= self.equalize_db <= 40, "augment.equalize_db", self.equalize_db, "0 to 40")
        _require(0 <= self.noise_probability <= 1, "augment.noise_probability", self.noise_probability, "0 to 1")
        _require(
            0 <= self.bandwidth_probability <= 1,
            "augment.bandwidth_probability",
            self.bandwidth_probability,
            "0 to 1",
        )
        _require(self.snr_db[0] <= self.snr_db[1], "augment.snr_db", self.snr_db, "low, high")
        _require(0 <= self.frequency_warp < 0.5, "augment.frequency_warp", self.frequency_warp, "0 to below 0.5")
        _require(0 <= self.pace < 0.5, "augment.pace", self.pace, "0 to below 0.5")


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """Optimiser, schedule and batches.

    Attributes:
        minutes: length of the run in minutes of training; the schedule follows the clock. 0: follow
            ``steps``.
        steps: length of the run in updates where ``minutes`` is 0.
        batch_seconds: audio in a batch.
        precision: of forward and backward passes: ``auto`` (bfloat16 where it is native), ``float32`` or ``bfloat16``.
        optimizer: ``adamw``, or ``muon`` (matrices by Muon, the rest by AdamW).
        peak_lr: highest learning rate of AdamW.
        muon_lr: highest learning rate of Muon, whose updates are scaled to AdamW's size.
        head_lr: highest learning rate of the teacher's heads and of the exits' heads for phones, which may start from
            nothing where the rest does not; 0: that of the rest.
        warmup_steps: linear warm-up.
        hold: share of the run after which the rate falls linearly to 2 % of its peak.
        weight_decay: decoupled, on matrices.
        beta2: AdamW's second moment.
        clip: gradient norm.
        local_steps: updates that each of several processes makes on its own shares before they take the mean of their
            weights (local SGD, arXiv 1805.09767); 1: the mean of gradients at every update.
        ema: decay of the averaged weights that are evaluated and exported.
        chunks: chunk size in frames (0 for full) → share of batches.
        look_ahead: R in frames → share of batches.
        exit_weights: loss weight of each exit; all alike if empty. Batches that are scored on the first exits alone
            (``depths``) or on a splice alone (``patterns``: the first weight) need a weight above 0 there.
        consistency: weight of CR-CTC (arXiv 2410.05101). Above 0 a batch holds two augmented views of each utterance,
            and each exit's posteriors of one view are drawn to those of the other. The paper uses 0.2, and 2.5 times
            as much masking in time.
        distillation: weight of the divergence of earlier exits' posteriors from the last one's, held fixed; they may
            lag behind it by up to ``delay`` frames, as look-ahead lets deep exits spike earlier.
        delay: frames of lag that distillation tolerates.
        teacher: weight of the mean squared error between linear maps of the stream after ``teacher_exits`` and a
            teacher's encoder states; ``data.teacher`` loads them.
        teacher_exits: which exits' streams are regressed.
        phones: weight of the CTC loss on phones, the mean over exits; the model has heads for them (``model.phones``),
            the prepared folder the dictionary (``scripts/prepare_data.py --pronunciations``). 0: the model's heads
            for phones, if it has any, stay as they are.
        crf: share of CTC-CRF's denominator in the loss on phones (``edge_asr.training.crf``), with a bigram counted on
            the transcripts. 0: CTC alone; at 1 nothing holds blanks in place (the paper keeps a tenth of CTC).
    """

    minutes: float = 0.0
    steps: int = 10_000
    batch_seconds: float = 150.0
    precision: str = "auto"
    optimizer: str = "adamw"
    peak_lr: float = 1.5e-3
    muon_lr: float = 3e-3
    head_lr: float = 0.0
    warmup_steps: int = 200
    hold: float = 0.4
    weight_decay: float = 0.01
    beta2: float = 0.98
    clip: float = 5.0
    local_steps: int = 1
    ema: float = 0.998
    chunks: dict[int, float] = field(default_factory=lambda: {8: 0.2, 16: 0.5, 32: 0.2, 0: 0.1})
    look_ahead: dict[int, float] = field(default_factory=lambda: {0: 0.15, 8: 0.65, 16: 0.2})
    exit_weights: tuple[float, ...] = ()
    consistency: float = 0.0
    distillation: float = 0.0
    delay: int = 3
    teacher: float = 0.0
    teacher_exits: tuple[int, ...] = (2, 4, 6)
    phones: float = 0.0
    crf: float = 0.0

    def __post_init__(self) -> None:
        _require(self.optimizer in ("adamw", "muon"), "optim.optimizer", self.optimizer, "adamw, muon")
        _require(self.precision in PRECISIONS, "optim.precision", self.precision, ", ".join(PRECISIONS))
        _require(self.minutes >= 0, "optim.minutes", self.minutes, "above 0, or 0 to follow steps")
        _require(self.minutes > 0 or self.steps > 0, "optim.steps", self.steps, "above 0 unless minutes is")
        for name in ("peak_lr", "muon_lr", "head_lr", "warmup_steps", "weight_decay"):
            _require(getattr(self, name) >= 0, f"optim.{name}", getattr(self, name), "0 or more")
        _require(0 <= self.beta2 < 1, "optim.beta2", self.beta2, "0 to below 1")
        _require(self.clip > 0, "optim.clip", self.clip, "above 0")
        _require(self.batch_seconds >= 1, "optim.batch_seconds", self.batch_seconds, "at least 1")
        _require(0 <= self.hold < 1, "optim.hold", self.hold, "0 to below 1")
        _require(0 <= self.ema < 1, "optim.ema", self.ema, "0 to below 1")
        _require(
            all(c >= 0 and c % 2 == 0 for c in self.chunks),
            "optim.chunks",
            self.chunks,
            "even numbers of frames, 0 for full",
        )
        _require(all(r >= 0 for r in self.look_ahead), "optim.look_ahead", self.look_ahead, "0 or more frames")
        for name in ("chunks", "look_ahead"):
            shares = getattr(self, name)
            _require(_are_shares(shares), f"optim.{name}", shares, "shares from 0, not all 0")
        weights = self.exit_weights
        _require(all(w >= 0 for w in weights), "optim.exit_weights", weights, "0 or more each")
        _require(self.local_steps >= 1, "optim.local_steps", self.local_steps, "1 or more")
        _require(self.consistency >= 0, "optim.consistency", self.consistency, "0 or more")
        _require(self.distillation >= 0, "optim.distillation", self.distillation, "0 or more")
        _require(0 <= self.delay <= 16, "optim.delay", self.delay, "0 to 16 frames")
        _require(self.teacher >= 0, "optim.teacher", self.teacher, "0 or more")
        _require(self.phones >= 0, "optim.phones", self.phones, "0 or more")
        _require(0 <= self.crf <= 1, "optim.crf", self.crf, "0 to 1")
        _require(self.phones > 0 or not self.crf, "optim.crf", self.crf, "0, or optim.phones above 0")

    @property
    def views(self) -> int:
        """How many augmented views of each utterance a batch holds."""
        return 2 if self.consistency else 1


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A whole run; ``TrainConfig.load(path)`` reads it from YAML."""

    name: str
    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    phases: tuple[Phase, ...] = (Phase(),)
    seed: int = 1

    def __post_init__(self) -> None:
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        ends = [p.until for p in self.phases]
        _require(
            bool(ends) and ends == sorted(ends) and ends[-1] == 1.0, "phases", ends, "ascending ends, the last 1.0"
        )
        depths = [depth for p in self.phases for depth in p.depths]
        _require(all(d <= self.model.exits for d in depths), "phases.depths", depths, f"1 to {self.model.exits}")
        chosen = self.optim.teacher_exits
        _require(
            not self.optim.teacher or (bool(chosen) and all(1 <= e <= self.model.exits for e in chosen)),
            "optim.teacher_exits",
            chosen,
            f"1 to {self.model.exits}, at least one",
        )
        _require(
            self.model.phones > 0 or not self.optim.phones, "optim.phones", self.optim.phones, "0, or model.phones"
        )
        _require(self.data.teacher or not self.optim.teacher, "optim.teacher", self.optim.teacher, "0, or data.teacher")
        weights, exits = self.optim.exit_weights, self.model.exits
        allowed = f"{exits} numbers, one an exit, or none"
        _require(len(weights) in (0, exits), "optim.exit_weights", weights, allowed)
        # The first exits, or a splice in the first one's place, may be all that a batch is scored on.
        fewest = min(
            1 if p.patterns else min((n for n, share in p.depths.items() if share), default=exits) for p in self.phases
        )
        allowed = f"not all 0 up to exit {fewest}, as phases.depths or phases.patterns ask for it alone"
        _require(not weights or sum(weights[:fewest]) > 0, "optim.exit_weights", weights, allowed)

    @classmethod
    def from_dict(cls, values: Any, model: ModelConfig | None = None) -> TrainConfig:
        """Builds and validates a run from parsed YAML or JSON; OptionError names a wrong entry.

        Args:
            values: a mapping.
            model: what ``model`` in it goes out from; then it need not be given. For fine-tuning.
        """
        if not isinstance(values, dict):
            raise OptionError(f"training configuration is {type(values).__name__}; allowed: a mapping")
        known = {f.name for f in fields(cls)}
        for name in values:
            _require(name in known, name, values[name], "one of " + ", ".join(sorted(known)))
        base = {} if model is None else model.to_dict()
        for name in ("name", "model"):
            _require(name in values or (name == "model" and bool(base)), name, None, "must be given")
        sizes, phases = values.get("model", {}), values.get("phases", [{}])
        _require(isinstance(sizes, dict), "model", sizes, "a mapping")
        _require(isinstance(phases, list | tuple), "phases", phases, "a list")
        return cls(
            name=str(values["name"]),
            model=ModelConfig.from_dict(base | checked(ModelConfig, sizes, "model")),
            data=_build(DataConfig, values.get("data", {}), "data"),
            augment=_build(AugmentConfig, values.get("augment", {}), "augment"),
            optim=_build(OptimConfig, values.get("optim", {}), "optim"),
            phases=tuple(_build(Phase, p, "phases") for p in phases),
            seed=checked(cls, {"seed": values.get("seed", 1)})["seed"],
        )

    @classmethod
    def load(cls, path: Path, model: ModelConfig | None = None) -> TrainConfig:
        """Reads a YAML file, see ``from_dict``; OptionError names a wrong entry."""
        import yaml  # a borrowed GPU node that is given its configuration as JSON may lack it

        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise OptionError(f"training configuration {str(path)!r} cannot be read: {error}") from error
        return cls.from_dict(values, model)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as kept in checkpoints."""
        return asdict(self) | {"model": self.model.to_dict()}
