"""What a run shows and logs: a rich progress line, ``train.csv``, ``dev.csv`` and ``dev_errors.json``."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from edge_asr.training.config import TrainConfig
from edge_asr.training.scoring import Score


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a run stands: updates done, its place in the plan, seconds of training, share of the run (0 to 1)."""

    step: int
    phase: int
    epoch: int
    elapsed: float
    progress: float


def append_csv(path: Path, row: dict[str, Any]) -> None:
    """Appends a row, with a header if the file is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def scored_step(out: Path) -> int | None:
    """The updates before a run's last scoring, by its ``dev.csv``; None before there is one."""
    try:
        with (out / "dev.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return int(rows[-1]["step"])
    except (OSError, IndexError):
        return None


class Reporter:
    """Shows loss per exit and speed on a terminal (or a line every 50 updates elsewhere), and appends to CSV files."""

    def __init__(self, out: Path, config: TrainConfig, every: int = 50) -> None:
        self.out, self.every, self.exits = out, every, config.model.exits
        self.console = Console(file=sys.stderr)
        self.bar = Progress(
            TextColumn(config.name), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, disable=not self.console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("train", total=1.0, text="")
        self._seconds = self._spent = 0.0

    def __enter__(self) -> Reporter:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def train(self, moment: Moment, row: dict[str, Any], seconds: float, spent: float) -> None:
        """Reports one update: ``seconds`` of audio in ``spent`` seconds of time."""
        self._seconds, self._spent = self._seconds + seconds, self._spent + spent
        losses = " ".join(f"{x:.2f}" for x in row["losses"])
        speed = seconds / max(spent, 1e-9)
        text = f"step {moment.step} loss {losses} {speed:.0f} s/s"
        self.bar.update(self.task, completed=moment.progress, text=text)
        append_csv(
            self.out / "train.csv",
            {
                "step": moment.step,
                "phase": moment.phase,
                "epoch": moment.epoch,
                "elapsed": round(moment.elapsed, 1),
                "progress": round(moment.progress, 4),
                "chunk": row["chunk"],
                "rate": round(row["rate"], 4),
                "norm": row["norm"],
                "splice": row["splice"],
                "consistency": row["consistency"],
                "teacher": row["teacher"],
                "phones": row["phones"],
                "audio_per_second": round(speed, 1),
            }
            | {f"loss{i + 1}": "" for i in range(self.exits)}
            | {f"loss{i}": x for i, x in enumerate(row["losses"], 1)},
        )
        if moment.step % self.every == 0 and not self.console.is_terminal:
            mean = self._seconds / max(self._spent, 1e-9)
            self.console.print(
                f"{moment.progress:6.1%} step {moment.step} loss {losses} norm {row['norm']} teacher {row['teacher']} "
                f"consistency {row['consistency']} {mean:.0f} s/s"
            )
            self._seconds = self._spent = 0.0

    def dev(self, moment: Moment, scores: dict[str, Score]) -> None:
        """Reports WER per exit on the dev samples; ``dev_errors.json`` has the last errors of each utterance."""
        for name, score in scores.items():
            values = score.wers
            self.console.print(
                f"{moment.progress:6.1%} step {moment.step} WER {name}: " + " ".join(f"{w:.1%}" for w in values)
            )
            append_csv(
                self.out / "dev.csv",
                {"step": moment.step, "elapsed": round(moment.elapsed, 1), "corpus": name}
                | {f"wer{i}": round(w, 4) for i, w in enumerate(values, 1)},
            )
        errors = {name: asdict(score) for name, score in scores.items()}
        (self.out / "dev_errors.json").write_text(json.dumps(errors), encoding="utf-8")
