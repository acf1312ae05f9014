"""``python -m export --checkpoint CHECKPOINT --out DIR``.

Writes a bundle, checks it against torch, and keeps it only if it agrees. ``python -m export lm --help`` writes a
language model.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from edge_asr.audio.reader import read_audio
from edge_asr.errors import DataError, EdgeAsrError
from edge_asr.model.config import SIDE
from edge_asr.model.frontend import HOP
from edge_asr.model.model import two_speed
from edge_asr.training.phones import TABLE
from edge_asr.training.weights import load_weights, save_weights
from export.bundle_lm import check_lm, copy_to_bundle, kept_lm
from export.card import model_card
from export.lm import main as lm_main
from export.parity import check_parity
from export.writer import BundleOptions, count_exits, write_graphs, write_manifest

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


def parity_audio(path: Path | None) -> npt.NDArray[np.float32]:
    """Audio for the parity check.

    A file, else a sample recording, else noise with a changing level; at most 12 s.
    """
    chosen = path or next(iter(sorted(SAMPLES.glob("*.flac"))), None)
    if chosen is not None:
        return read_audio(str(chosen))[: 12 * 25 * HOP]
    rng = np.random.default_rng(0)
    level = 0.05 * (1 + np.sin(np.arange(8 * 25 * HOP) / 2000))
    return (rng.standard_normal(len(level)) * level).astype(np.float32)


def export_bundle(
    weights: Path,
    out: Path,
    name: str,
    console: Console,
    *,
    audio: Path | None = None,
    keep: tuple[str, ...] = (),
    overlap: int = SIDE,
    lm: Path | None = None,
) -> None:
    """Exports weights to a bundle at ``out``, which is replaced only when the parity check has passed.

    A language model that the replaced bundle had is kept, with what its card says of it.

    Args:
        weights: a checkpoint (its averaged weights) or a ``.safetensors`` file.
        out: the bundle.
        name: the model's name.
        console: where progress goes.
        audio: recording for the parity check.
        keep: precisions to keep in the bundle (both are always checked); all if empty.
        overlap: frames on either side of a chunk that deeper segments compute along with it; even.
        lm: a language-model file to put in; None keeps that of the bundle that is replaced, if it has one.

    Raises:
        DataError: weights that can't be read, a bundle that differs from torch, or a language model in other phones.
        LanguageModelError: the language model's file isn't sound.
        OptionError: an overlap that can't be.
    """
    model, tokenizer, notes = load_weights(weights)
    two_speed(model)  # says what a bundle can hold
    model.overlapping(overlap)
    lm = lm or kept_lm(out)
    language_model = None if lm is None else check_lm(lm, TABLE if model.config.phones else None)
    options = BundleOptions(name=name, overlap=overlap)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        write_graphs(model, tokenizer, part, lambda text: console.print(f"exporting {text}"))
        exits, share = count_exits(model, part, options)
        write_manifest(model, part, options, exits, {})
        console.print("checking against torch")
        parity = check_parity(model, part, parity_audio(audio))
        for p in parity:
            chunk = "full" if p.chunk is None else f"{40 * p.chunk} ms"
            console.print(
                f"{p.precision}, {chunk}: posteriors within {p.largest:.1e}, "
                f"same best token in {p.agreement:.2%} of frames, {p.token_errors:.1%} of tokens differ"
            )
        for precision in ("int8", "float32"):
            if keep and precision not in keep:
                shutil.rmtree(part / precision)
        write_manifest(model, part, options, exits, {})
        (part / "README.md").write_text(
            model_card(model.config, options, exits, share, parity, notes), encoding="utf-8"
        )
        if language_model is not None:
            described = copy_to_bundle(language_model, part, options.language)
            unknown = "" if described else "; say in README.md what its text was, and under which licence"
            console.print(f"language model: {lm}{unknown}")
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if out.exists():
        shutil.rmtree(out)
    os.replace(part, out)
    console.print(f"wrote {out}: thresholds are still to be calibrated (edge-asr calibrate)")


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    if (sys.argv[1:] if arguments is None else arguments)[:1] == ["lm"]:
        return lm_main((sys.argv[1:] if arguments is None else arguments)[1:])
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="checkpoint (.pt) or float weights (.safetensors)"
    )
    parser.add_argument("--out", type=Path, required=True, help="the bundle's directory")
    parser.add_argument("--name", help="the model's name (default: the directory's)")
    parser.add_argument("--audio", type=Path, help="recording for the parity check (default: a sample)")
    parser.add_argument(
        "--keep", choices=["int8", "float32"], action="append", default=[], help="keep this precision only"
    )
    parser.add_argument(
        "--overlap",
        type=int,
        default=SIDE,
        help="frames of 40 ms on either side of a chunk that run along with it (default: %(default)s)",
    )
    parser.add_argument(
        "--lm", type=Path, help="language-model file to put in (default: that of the bundle that is replaced)"
    )
    parser.add_argument("--weights", type=Path, help="write the float weights here (bfloat16) and export those")
    args = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    console = Console(stderr=True, highlight=False)
    torch.manual_seed(0)
    try:
        if (
            args.out.exists()
            and not (args.out.is_dir() and (args.out / "bundle.json").exists())
            and any_content(args.out)
        ):
            raise DataError(f"--out {str(args.out)!r} exists and is not a bundle: choose a new directory")
        if args.weights:
            save_weights(args.weights, *load_weights(args.checkpoint))
            console.print(f"wrote {args.weights}")
        export_bundle(
            args.weights or args.checkpoint,
            args.out,
            args.name or args.out.name,
            console,
            audio=args.audio,
            keep=tuple(args.keep),
            overlap=args.overlap,
            lm=args.lm,
        )
    except EdgeAsrError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    return 0


def any_content(path: Path) -> bool:
    """Whether a path is a file, or a directory with something in it."""
    return not path.is_dir() or any(path.iterdir())


if __name__ == "__main__":
    sys.exit(main())
