"""The stale-cache benchmark: what per-chunk exits cost an encoder beyond what the exits themselves cost.

    python scripts/stale_cache.py --data PREPARED --corpus CORPUS --out DIR NAME=CHECKPOINT [NAME=CHECKPOINT …]

Each encoder runs under the same policies: exits drawn at random at several mean depths, frame-entropy thresholds, and
an oracle that stops where the chunk reads as it would at full depth. For each it reports WER, mean
multiply–accumulates, the WER of the same exits with every cache exact, and errors at seams.
Writes DIR/stale_cache.json, .md and .png. Any encoder registered in edge_asr.model.registry can take part.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from edge_asr.errors import EdgeAsrError, OptionError
from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.config import DataConfig
from edge_asr.training.data.batches import Loader, open_store, read_part, sample_cuts
from edge_asr.training.splicing import (
    Case,
    Score,
    add_batch,
    agrees_with_the_last,
    decided_exits,
    depth_costs,
    empty_score,
    random_exits,
    within_entropy,
)
from edge_asr.training.tokenizer import Tokenizer
from edge_asr.training.weights import load_weights


def dev_batches(prepared: Path, corpus: str, tokenizer: Tokenizer, count: int) -> list[Batch]:
    """A seeded sample of a dev corpus in batches of eight."""
    part = read_part(prepared, "dev", (corpus,))
    store = open_store(prepared, "dev", [corpus], (1.0,))
    loader = Loader(part, store, tokenizer, None, DataConfig(), batch_seconds=60, seed=0)
    cuts = sample_cuts(part[corpus], count, seed=7)
    return [loader.collate(cuts[i : i + 8], None) for i in range(0, len(cuts), 8)]


def score_policy(
    model: AsrModel, tokenizer: Tokenizer, batches: list[Batch], case: Case, policy: str, value: float, seed: int
) -> Score:
    """One policy over all batches."""
    rng, score = np.random.default_rng(seed), empty_score(model.config.exits)
    for batch in batches:
        with torch.inference_mode():
            frames = model.frontend.subsampling(batch.mels)
        if policy == "random":
            chunks = -(-frames.shape[1] // case.chunk)
            exits = random_exits(batch.lengths, chunks, model.config.exits, value, rng)
        else:
            sure = within_entropy(value) if policy == "entropy" else agrees_with_the_last
            exits = decided_exits(model, frames, batch.lengths, case, sure)
        add_batch(score, model, tokenizer, batch, frames, exits, case)
    return score


def row(name: str, policy: str, value: float, score: Score, costs: list[float]) -> dict[str, Any]:
    """What is reported of one encoder under one policy."""
    depths = torch.arange(1, len(costs) + 1, dtype=torch.float64)
    return {
        "encoder": name,
        "policy": policy,
        "value": value,
        "wer": round(score.wer(), 4),
        "exact_wer": round(score.exact_wer(), 4),
        "gap": round(score.wer() - score.exact_wer(), 4),
        "mean_exit": round(float((score.exit_frames * depths).sum() / score.exit_frames.sum()), 3),
        "mean_macs_per_second": round(score.mean_cost(costs)),
        "seams": score.seams,
        "errors_per_100_seams": round(100 * score.seam_errors / max(1, score.seams), 2),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, WER in percent."""
    head = "| encoder | policy | mean exit | MMAC/s | WER | with exact caches | gap | errors at 100 seams |"
    lines = [head, "| --- " * 8 + "|"]
    for r in rows:
        lines.append(
            f"| {r['encoder']} | {r['policy']} {r['value']:g} | {r['mean_exit']:.2f} "
            f"| {r['mean_macs_per_second'] / 1e6:.1f} | {100 * r['wer']:.1f} | {100 * r['exact_wer']:.1f} "
            f"| {100 * r['gap']:+.1f} | {r['errors_per_100_seams']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """WER against mean multiply–accumulates, a line for each encoder and policy; stars are the oracle."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axis, policy in zip(axes, ("random", "entropy"), strict=True):
        for name in dict.fromkeys(r["encoder"] for r in rows):
            points = sorted(
                (r["mean_macs_per_second"] / 1e6, 100 * r["wer"])
                for r in rows
                if r["encoder"] == name and r["policy"] == policy
            )
            (line,) = axis.plot(*zip(*points, strict=True), marker="o", label=name)
            for r in rows:
                if r["encoder"] == name and r["policy"] == "oracle":
                    axis.plot(r["mean_macs_per_second"] / 1e6, 100 * r["wer"], marker="*", color=line.get_color())
        axis.set(title=f"{policy} exits per chunk", xlabel="encoder multiply–accumulates (million per second of audio)")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("WER (%)")
    axes[1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def numbers(text: str) -> list[float]:
    """Comma-separated numbers."""
    return [float(part) for part in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=CHECKPOINT")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--utterances", type=int, default=200)
    parser.add_argument("--chunk", type=int, default=16, help="frames (default: %(default)s)")
    parser.add_argument("--look-ahead", type=int, default=8, help="frames (default: %(default)s)")
    parser.add_argument("--depths", type=numbers, default=[2.0, 3.0, 4.0, 5.0], help="mean exits, comma-separated")
    parser.add_argument("--thresholds", type=numbers, default=[0.05, 0.1, 0.2, 0.4], help="nats, comma-separated")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    case = Case(args.chunk, args.look_ahead)
    policies = [("random", d) for d in args.depths] + [("entropy", t) for t in args.thresholds] + [("oracle", 0.0)]
    rows: list[dict[str, Any]] = []
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        with Progress(console=console) as progress:
            task = progress.add_task("policies", total=len(args.models) * len(policies))
            for entry in args.models:
                name, _, path = entry.partition("=")
                if not path:
                    raise OptionError(f"model {entry!r}: expected NAME=CHECKPOINT")
                model, tokenizer, _ = load_weights(Path(path))
                batches = dev_batches(args.data, args.corpus, tokenizer, args.utterances)
                costs = depth_costs(model, case)
                for policy, value in policies:
                    score = score_policy(model, tokenizer, batches, case, policy, value, args.seed)
                    rows.append(row(name, policy, value, score, costs))
                    (args.out / "stale_cache.json").write_text(json.dumps(rows, indent=1) + "\n")
                    progress.advance(task)
        (args.out / "stale_cache.md").write_text(markdown(rows))
        plot(rows, args.out / "stale_cache.png")
        console.print(markdown(rows), markup=False)
    except EdgeAsrError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
