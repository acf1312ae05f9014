"""Packs a training run for a borrowed GPU node without a network, and brings the weights home.

    python scripts/gpu_pack.py make --config CONFIG.yaml --data PREPARED --out PACK [--shard-mib 60]
    python scripts/gpu_pack.py collect PACK OUT --weights models/NAME.safetensors

`make` writes shards of audio in random order over all corpora and prints the one command to run on the node. The
node needs torch and numpy; wheels of soundfile and soxr can travel with the pack (`--wheels`, from `pip download`).
Training starts on the first shard that arrives, follows the clock (`optim.minutes`), and writes averaged weights every
three minutes. `collect` turns the node's OUT (weights-*.npz, status.json) into a weights file for scripts/train.py
--init and for export.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from edge_asr.errors import DataError, EdgeAsrError, OptionError
from edge_asr.model.model import AsrModel
from edge_asr.training.config import TrainConfig
from edge_asr.training.data.batches import open_store, read_part, sample_cuts, usable
from edge_asr.training.pack import PackSpec, save_noise, write_shards
from edge_asr.training.tokenizer import Tokenizer
from edge_asr.training.weights import save_weights

PACKAGE = Path(__file__).resolve().parent.parent / "edge_asr"


def make(
    config: TrainConfig, prepared: Path, out: Path, shard_bytes: int, wheels: Path | None, console: Console
) -> None:
    """Writes a pack."""
    for option, lacks in (("teacher", "states"), ("phones", "pronunciations")):
        if value := getattr(config.optim, option):
            raise OptionError(f"training option optim.{option} is {value!r}; allowed in a pack: 0 (it has no {lacks})")
    if not config.optim.minutes:
        raise OptionError("training option optim.minutes is 0; allowed in a pack: above 0 (a node's time is what ends)")
    if config.augment.pace:
        raise OptionError(f"training option augment.pace is {config.augment.pace!r}; allowed in a pack: 0")
    out.mkdir(parents=True, exist_ok=True)
    corpora = read_part(prepared, "train", config.data.train)
    kept = {name: [c for c in cuts if usable(c, config.data)] for name, cuts in corpora.items()}
    pairs = [(name, cut) for name, cuts in sorted(kept.items()) for cut in cuts]
    tokenizer = Tokenizer.train(sorted({c.supervisions[0].text for _, c in pairs}), config.model.vocabulary)
    order = np.random.default_rng(config.seed).permutation(len(pairs))
    with Progress(console=console) as progress:
        task = progress.add_task("shards", total=sum(c.duration for _, c in pairs))
        shards = write_shards(
            out, "shard", (pairs[i] for i in order), tokenizer.encode, shard_bytes, lambda s: progress.advance(task, s)
        )
    dev = read_part(prepared, "dev", config.data.dev)
    chosen = [(n, c) for n, cuts in dev.items() for c in sample_cuts(cuts, config.data.dev_utterances, seed=7)]
    write_shards(out, "dev", chosen, tokenizer.encode, 1 << 30)
    noise = prepared / "noise" / "noise.npy"
    if noise.exists():
        save_noise(out / "noise.npy", np.load(noise, mmap_mode="r"))
    mean, std = open_store(prepared, "train", list(corpora), (1.0,)).mean_and_std()
    hours = {name: sum(c.duration for c in cuts) / 3600 for name, cuts in kept.items()}
    PackSpec(
        config,
        tokenizer.model,
        tuple(tokenizer.pieces()),
        shards,
        hours,
        tuple(map(float, mean)),
        tuple(map(float, std)),
    ).write(out)
    shutil.rmtree(out / "code", ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", "models")
    shutil.copytree(PACKAGE, out / "code" / "edge_asr", ignore=ignore)
    if wheels is not None:
        shutil.copytree(wheels, out / "wheels", dirs_exist_ok=True)
    size = sum(shards.values()) / (1 << 20)
    console.print(
        f"{len(shards)} shards, {size:.0f} MiB, {sum(hours.values()):.1f} h. On the node, in the pack's folder:"
    )
    install = (
        "python3 -m pip install -q --no-index --no-deps --target site wheels/*.whl; " if wheels is not None else ""
    )
    console.print(
        f"{install}PYTHONPATH=code:site setsid nohup python3 -m edge_asr.training.node . --out OUT > node.log 2>&1 &",
        markup=False,
        soft_wrap=True,
    )


def collect(pack: Path, out: Path, target: Path, console: Console) -> None:
    """Makes a weights file of what the node wrote."""
    spec = PackSpec.read(pack)
    try:
        status = json.loads((out / "status.json").read_text())
        tensors = {}
        for i in range(status["parts"]):
            with np.load(out / f"weights-{i}.npz", allow_pickle=False) as part:
                for name in part.files:
                    tensors[name] = torch.from_numpy(part[name]).view(torch.bfloat16).float()
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"weights in {str(out)!r} cannot be read: {error!r}") from error
    model = AsrModel(spec.config.model)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"weights in {str(out)!r} do not fit the pack {str(pack)!r}: {error}") from error
    notes = {k: status[k] for k in ("step", "elapsed")} | {"corpora": spec.hours, "config": spec.config.to_dict()}
    save_weights(target, model, Tokenizer(spec.tokenizer), notes)
    console.print(f"wrote {target}: {status}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make")
    maker.add_argument("--config", type=Path, required=True)
    maker.add_argument("--data", type=Path, required=True)
    maker.add_argument("--out", type=Path, required=True)
    maker.add_argument("--shard-mib", type=float, default=60.0)
    maker.add_argument("--wheels", type=Path, help="folder of wheels to carry")
    collector = commands.add_parser("collect")
    collector.add_argument("pack", type=Path)
    collector.add_argument("out", type=Path)
    collector.add_argument("--weights", type=Path, required=True)
    args = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    try:
        if args.command == "make":
            make(
                TrainConfig.load(args.config),
                args.data,
                args.out,
                int(args.shard_mib * (1 << 20)),
                args.wheels,
                console,
            )
        else:
            collect(args.pack, args.out, args.weights, console)
    except EdgeAsrError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
