"""The stale-cache benchmark: what per-chunk exits cost an encoder beyond what the exits themselves cost.

    python scripts/stale_cache.py --data PREPARED --corpus CORPUS --out DIR NAME=CHECKPOINT[,overlap=8][,look-ahead=0] …

Each encoder runs under the same policies: every fixed depth, exits drawn at random at several mean depths,
frame-entropy thresholds, and an oracle that stops where the chunk reads as it would at full depth. For each it reports
WER, mean multiply–accumulates (those of catching up included), the WER of the same exits with every cache exact, and
errors at seams; and the difference to the first encoder under the same policy. Intervals: 95 %, paired bootstrap over
utterances. Writes DIR/stale_cache.json (also errors per utterance), .md and .png; run again, it goes on.
Any encoder registered in edge_asr.model.registry can take part; offline ones take an utterance as one chunk.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.progress import Progress
from torch.utils.flop_counter import FlopCounterMode

from edge_asr.errors import EdgeAsrError, OptionError
from edge_asr.evaluation.statistics import bootstrap_difference, in_points
from edge_asr.model.cached import CachedSegment, CachedSplitformer
from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.checkpoint import digest
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
from export.rivals import CachedStep, CatchUp

FRAMES_PER_SECOND = 25
POLICIES = ("fixed", "random", "entropy", "oracle")
Heard = tuple[Batch, torch.Tensor, torch.Tensor]


def dev_batches(prepared: Path, corpus: str, tokenizer: Tokenizer, count: int) -> list[Batch]:
    """A seeded sample of a dev corpus in batches of eight."""
    part = read_part(prepared, "dev", (corpus,))
    store = open_store(prepared, "dev", [corpus], (1.0,))
    loader = Loader(part, store, tokenizer, None, DataConfig(), batch_seconds=60, seed=0)
    cuts = sample_cuts(part[corpus], count, seed=7)
    return [loader.collate(cuts[i : i + 8], None) for i in range(0, len(cuts), 8)]


def catch_up_costs(model: AsrModel, case: Case) -> list[float]:
    """Multiply–accumulates of catching up in each segment, per second of audio caught up with."""
    costs, encoder = [0.0] * model.config.exits, model.encoder
    if not isinstance(encoder, CachedSplitformer) or encoder.skip != "propagate" or case.chunk is None:
        return costs
    for i, segment in enumerate(encoder.deep, 1):
        assert isinstance(segment, CachedSegment)
        step = CachedStep(segment, model.config, case.chunk)
        frames = torch.zeros(1, case.chunk, model.config.dim)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            CatchUp(step)(frames, torch.tensor([case.chunk]), torch.ones(1, model.config.history), *step.zero_state(1))
        costs[i] = counter.get_total_flops() / 2 / case.chunk * FRAMES_PER_SECOND
    return costs


@torch.inference_mode()
def heard(model: AsrModel, batches: list[Batch], case: Case) -> list[Heard]:
    """Batches with the frontend's frames and every exit at full depth, which all policies begin with."""
    found = []
    for batch in batches:
        frames = model.frontend.subsampling(batch.mels)
        full = model.encoder(frames, batch.lengths, chunk=case.chunk, look_ahead=case.look_ahead)
        found.append((batch, frames, full))
    return found


def score_policy(
    model: AsrModel, tokenizer: Tokenizer, batches: list[Heard], case: Case, policy: str, value: float, seed: int
) -> Score:
    """One policy over all batches, given each with its frames and what every exit says at full depth."""
    rng, score = np.random.default_rng(seed), empty_score(model.config.exits)
    for batch, frames, full in batches:
        chunks = -(-frames.shape[1] // case.frames(frames.shape[1]))
        if policy == "fixed":
            exits = torch.full((len(batch.lengths), chunks), int(value))
        elif policy == "random":
            exits = random_exits(batch.lengths, chunks, model.config.exits, value, rng)
        else:
            sure = within_entropy(value) if policy == "entropy" else agrees_with_the_last
            exits = decided_exits(model, frames, batch.lengths, case, sure, full)
        add_batch(score, model, tokenizer, batch, frames, exits, case, full)
    return score


def errors(references: list[str], texts: list[str]) -> list[int]:
    """Word errors of each utterance."""
    return [Levenshtein.distance(r.split(), t.split()) for r, t in zip(references, texts, strict=True)]


def row(name: str, policy: str, value: float, score: Score, costs: list[float], owed: list[float]) -> dict[str, Any]:
    """What is kept of one encoder under one policy."""
    depths = torch.arange(1, len(costs) + 1, dtype=torch.float64)
    return {
        "encoder": name,
        "policy": policy,
        "value": value,
        "mean_exit": round(float((score.exit_frames * depths).sum() / score.exit_frames.sum()), 3),
        "mean_macs_per_second": round(score.mean_cost(costs, owed)),
        "seams": score.seams,
        "errors_per_100_seams": round(100 * score.seam_errors / max(1, score.seams), 2),
        "words": [len(text.split()) for text in score.references],
        "errors": errors(score.references, score.spliced),
        "exact_errors": errors(score.references, score.exact),
    }


def compare(rows: list[dict[str, Any]]) -> None:
    """Adds WER, the gap to exact caches and the difference to the first encoder, with intervals, to each row."""
    first = {(r["policy"], r["value"]): r for r in rows if r["encoder"] == rows[0]["encoder"]}
    for r in rows:
        own, exact, words = (np.array(r[name]) for name in ("errors", "exact_errors", "words"))
        r["wer"] = round(own.sum() / words.sum(), 4)
        r["exact_wer"] = round(exact.sum() / words.sum(), 4)
        r["gap"] = [round(x, 4) for x in bootstrap_difference(own, exact, words)]
        if other := first.get((r["policy"], r["value"])):  # what the first was not run with has nothing beside it
            r["to_first"] = [round(x, 4) for x in bootstrap_difference(own, np.array(other["errors"]), words)]


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, WER in percent."""
    first = rows[0]["encoder"]
    head = "| encoder | policy | mean exit | MMAC/s | WER | against exact caches | "
    lines = [head + f"against {first} | errors at 100 seams |", "| --- " * 8 + "|"]
    for r in rows:
        beside = in_points(r["to_first"]) if r["encoder"] != first and "to_first" in r else "–"
        lines.append(
            f"| {r['encoder']} | {r['policy']} {r['value']:g} | {r['mean_exit']:.2f} "
            f"| {r['mean_macs_per_second'] / 1e6:.1f} | {100 * r['wer']:.1f} | {in_points(r['gap'])} "
            f"| {beside} | {r['errors_per_100_seams']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """WER against mean multiply–accumulates, a line for each encoder and policy; stars are the oracle."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [policy for policy in POLICIES[:3] if any(r["policy"] == policy for r in rows)]
    colors = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(r["encoder"] for r in rows))}
    figure, grid = pyplot.subplots(1, len(shown), figsize=(4 * len(shown) + 1, 4), sharey=True, squeeze=False)
    axes = grid[0]
    for axis, policy in zip(axes, shown, strict=True):
        for name, color in colors.items():
            points = sorted(
                (r["mean_macs_per_second"] / 1e6, 100 * r["wer"])
                for r in rows
                if r["encoder"] == name and r["policy"] == policy
            )
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name, color=color)
            for r in rows:
                if r["encoder"] == name and r["policy"] == "oracle" and policy == "entropy":
                    axis.plot(r["mean_macs_per_second"] / 1e6, 100 * r["wer"], marker="*", color=color)
        title = {"fixed": "every chunk at one exit", "entropy": "entropy thresholds (star: oracle)"}
        axis.set(title=title.get(policy, f"{policy} exits per chunk"), xlabel="encoder MMAC per second of audio")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("WER (%)")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def read_entry(entry: str, chunk: int, look_ahead: int) -> tuple[str, AsrModel, Tokenizer, Case]:
    """A model as it is named on the command line, and how audio is cut for it.

    Raises:
        OptionError: it isn't NAME=CHECKPOINT with options.
    """
    name, _, rest = entry.partition("=")
    checkpoint, *options = rest.split(",")
    given = dict(option.partition("=")[::2] for option in options)
    if not checkpoint or set(given) - {"overlap", "look-ahead"} or not all(v.isdecimal() for v in given.values()):
        raise OptionError(f"model {entry!r}: expected NAME=CHECKPOINT, then ,overlap=FRAMES or ,look-ahead=FRAMES")
    model, tokenizer, _ = load_weights(Path(checkpoint))
    if "overlap" in given:
        model.overlapping(int(given["overlap"]))
    if not model.encoder.streams:
        return name, model, tokenizer, Case(None, 0)
    return name, model, tokenizer, Case(chunk, int(given.get("look-ahead", look_ahead)))


def chosen(text: str) -> list[str]:
    """Comma-separated policies."""
    if unknown := set(text.split(",")) - set(POLICIES):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}; allowed: {', '.join(POLICIES)}")
    return text.split(",")


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
    parser.add_argument("--policies", type=chosen, default=list(POLICIES), help="comma-separated (default: all)")
    parser.add_argument("--depths", type=numbers, default=[2.0, 3.0, 4.0, 5.0], help="mean exits, comma-separated")
    parser.add_argument("--thresholds", type=numbers, default=[0.05, 0.1, 0.2, 0.4], help="nats, comma-separated")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    settings = [args.corpus, args.utterances, args.chunk, args.look_ahead, args.seed]
    drawn = [("random", d) for d in args.depths] + [("entropy", t) for t in args.thresholds] + [("oracle", 0.0)]
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        path = args.out / "stale_cache.json"
        kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"settings": settings, "rows": []}
        if kept["settings"] != settings:
            raise OptionError(
                f"{str(path)!r} holds results for {kept['settings']}, not {settings}: choose another --out"
            )
        rows: list[dict[str, Any]] = kept["rows"]
        models: dict[str, str] = kept.setdefault("models", {})
        done = {(r["encoder"], r["policy"], r["value"]) for r in rows}
        with Progress(console=console) as progress:
            task = progress.add_task("encoders", total=len(args.models))
            for entry in args.models:
                name, model, tokenizer, case = read_entry(entry, args.chunk, args.look_ahead)
                own = f"{digest(model.state_dict())[:16]} overlap {model.config.overlap}, {case}"
                if models.setdefault(name, own) != own:
                    raise OptionError(
                        f"{str(path)!r} holds results of another model under {name!r}: give it another name"
                    )
                batches = heard(model, dev_batches(args.data, args.corpus, tokenizer, args.utterances), case)
                costs, owed = depth_costs(model, case), catch_up_costs(model, case)
                policies = [("fixed", float(e)) for e in range(1, model.config.exits + 1)] + drawn
                policies = [(policy, value) for policy, value in policies if policy in args.policies]
                for policy, value in policies:
                    if (name, policy, value) not in done:
                        score = score_policy(model, tokenizer, batches, case, policy, value, args.seed)
                        rows.append(row(name, policy, value, score, costs, owed))
                        path.write_text(json.dumps(kept) + "\n")
                    progress.advance(task, 1 / len(policies))
        compare(rows)
        path.write_text(json.dumps(kept) + "\n")
        (args.out / "stale_cache.md").write_text(markdown(rows))
        plot(rows, args.out / "stale_cache.png")
        console.print(markdown(rows), markup=False)
    except EdgeAsrError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
