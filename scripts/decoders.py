"""``python scripts/decoders.py FILE.npz --lm FILE``: word error rate and CPU time of all decoders.

``--tune`` looks for better weights, ``--confidence`` fits the words' confidence, ``--hotwords`` measures phrases,
``--known MANIFEST …`` says how many words are missed by how often those transcripts hold them.
The file comes from scripts/log_probs.py.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent))

from log_probs import Kept, read

from edge_asr.decoding.beam_config import BeamConfig
from edge_asr.decoding.decoder import BEAM, DEFAULTS, GREEDY, LM, PHONE_SEARCH, Decoder
from edge_asr.decoding.decoding import Decoded
from edge_asr.decoding.hotwords import Hotword
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import EdgeAsrError
from edge_asr.evaluation.reliability import Bin, calibration_error, draw_reliability, reliability
from edge_asr.evaluation.wer import ErrorCount, word_errors, words_hit
from edge_asr.training.data.coverage import count_words

CHUNK = 16
"""Frames pushed at once: 640 ms."""

OFTEN = (0, 1, 3, 10, 100, 1000, 10**9)
"""Bounds of how often a word was heard in training, for ``--known``."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A decoder's results, the CPU seconds they took, and stable words of partial texts taken back per word."""

    decoded: list[Decoded]
    seconds: float
    flicker: float

    def errors(self, kept: Sequence[Kept]) -> ErrorCount:
        """Word errors of all utterances."""
        return sum((word_errors(k.text, d.text) for k, d in zip(kept, self.decoded, strict=True)), ErrorCount())


def run(decoder: Decoder, kept: Sequence[Kept], hotwords: Sequence[Hotword] = (), *, partials: bool = False) -> Run:
    """Decodes a data set as streams do, chunk by chunk; the time of partial texts isn't counted."""
    decoded, seconds, taken_back, words = [], 0.0, 0, 0
    for utterance in kept:
        decoding = decoder.start(hotwords)
        shown: list[str] = []
        said = utterance.phones if decoding.phones else utterance.log_probs
        assert said is not None
        for start in range(0, len(said), CHUNK):
            chunk = said[start : start + CHUNK]
            started = time.process_time()
            decoding.push(chunk)
            seconds += time.process_time() - started
            if partials:
                partial = decoding.partial(chunk[:0])
                stable = partial.text.split()[: partial.stable]
                same = next((i for i, (a, b) in enumerate(zip(shown, stable, strict=False)) if a != b), len(stable))
                taken_back += max(0, len(shown) - same)
                shown = stable
        started = time.process_time()
        decoded.append(decoding.result())
        seconds += time.process_time() - started
        words += len(decoded[-1].words)
    return Run(decoded, seconds, taken_back / max(1, words))


def table(
    kept: Sequence[Kept],
    pieces: tuple[str, ...],
    lm: NgramModel,
    widths: Iterable[int],
    encoder: float,
    phones: tuple[str, ...] | None,
) -> None:
    """Prints word error rate and CPU time of every decoder and width."""
    audio = sum(k.seconds for k in kept)
    print("| decoder | width | WER % | sub | del | ins | ms per second | of the encoder | taken back % |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")

    def row(name: str, width: str, decoder: Decoder, hotwords: Sequence[Hotword] = ()) -> None:
        result = run(decoder, kept, hotwords, partials=True)
        e = result.errors(kept)
        cells = (
            name,
            width,
            f"{100 * e.rate:.2f}",
            f"{e.substitutions}",
            f"{e.deletions}",
            f"{e.insertions}",
            f"{1000 * result.seconds / audio:.2f}",
            f"{result.seconds / encoder:.0%}",
            f"{100 * result.flicker:.2f}",
        )
        print("| " + " | ".join(cells) + " |", flush=True)

    row("greedy", "–", Decoder(GREEDY, pieces))
    open_words = DEFAULTS[LM]
    closed = replace(open_words, lexicon=True)
    phrases = hotword_list(kept, lm, 100)[1]
    for width in widths:
        row("beam", str(width), Decoder(BEAM, pieces, config=replace(DEFAULTS[BEAM], width=width)))
        no_lm = replace(closed, lm_weight=0.0, word_bonus=0.0, width=width)
        row("beam + lexicon", str(width), Decoder(LM, pieces, lm=lm, config=no_lm))
        decoder = Decoder(LM, pieces, lm=lm, config=replace(open_words, width=width))
        row("lm", str(width), decoder)
        plain = replace(open_words, blank_penalty=0.0, acoustic_scale=1.0, lm_weight=0.6, word_bonus=1.5, width=width)
        if phones and lm.phones is not None:
            config = replace(PHONE_SEARCH, width=width)
            spoken = Decoder(LM, pieces, lm=lm, config=config, phones=phones)
            row("lm on phones", str(width), spoken)
            row("lm on phones + hotwords", str(width), spoken, said(phrases, lm))
        row("lm, frames as they are", str(width), Decoder(LM, pieces, lm=lm, config=plain))  # its best other weights
        row("lm + lexicon", str(width), Decoder(LM, pieces, lm=lm, config=replace(closed, width=width)))
        row("lm + hotwords", str(width), decoder, phrases)


def tune(
    kept: Sequence[Kept],
    pieces: tuple[str, ...],
    lm: NgramModel,
    config: BeamConfig,
    phones: tuple[str, ...] | None,
    rounds: int = 2,
) -> BeamConfig:
    """Looks for better weights, one at a time, in steps that get smaller."""
    steps = {"blank_penalty": 0.5, "acoustic_scale": 0.1, "lm_weight": 0.1, "word_bonus": 0.5, "unknown_penalty": 2.0}
    known: dict[BeamConfig, float] = {}

    def rate(candidate: BeamConfig) -> float:
        if candidate not in known:
            known[candidate] = run(Decoder(LM, pieces, lm=lm, config=candidate, phones=phones), kept).errors(kept).rate
            shown = ", ".join(f"{name} {getattr(candidate, name):.3g}" for name in steps)
            print(f"{100 * known[candidate]:.2f} %  {shown}", flush=True)
        return known[candidate]

    for number in range(rounds):
        for name, step in steps.items():
            for sign in (1.0, -1.0):
                while True:
                    value = getattr(config, name) + sign * step / 2**number
                    moves: dict[str, Any] = {name: value}
                    try:
                        moved = replace(config, **moves)
                    except EdgeAsrError:
                        break
                    if rate(moved) >= rate(config):
                        break
                    config = moved
    return config


def aligned(reference: str, words: Sequence[str]) -> list[bool]:
    """Whether each recognised word is right."""
    right = [False] * len(words)
    for part in jiwer.process_words(reference, " ".join(words)).alignments[0]:
        if part.type == "equal":
            right[part.hyp_start_idx : part.hyp_end_idx] = [True] * (part.hyp_end_idx - part.hyp_start_idx)
    return right


def fit_confidence(kept: Sequence[Kept], pieces: tuple[str, ...], decoder: Decoder) -> list[Bin]:
    """Fits the logistic function on one half of the utterances, and prints its calibration error on the other."""
    points: list[list[tuple[float, bool]]] = [[], []]
    for index, (utterance, decoded) in enumerate(zip(kept, run(decoder, kept).decoded, strict=True)):
        ids = {token.frame: token.log_prob for token in decoded.tokens}
        right = aligned(utterance.text, [word.word for word in decoded.words])
        for word, good in zip(decoded.words, right, strict=True):
            spoken = [log_prob for frame, log_prob in ids.items() if word.start <= frame < word.end]
            points[index % 2].append((float(np.exp(min(spoken, default=0.0))), good))
    x, y = (np.array(column, dtype=float) for column in zip(*points[0], strict=True))
    offset, slope = logistic(x, y)
    x, y = (np.array(column, dtype=float) for column in zip(*points[1], strict=True))
    sure = 1 / (1 + np.exp(-(offset + slope * x)))
    bins = reliability(sure, y)
    print(f"offset {offset:.3f}, slope {slope:.3f}; other half: {len(y)} words")
    print("| confidence | words | right |\n| --- | --- | --- |")
    for part in bins:
        print(f"| {part.confidence:.2f} | {part.words} | {part.right:.2f} |")
    print(f"expected calibration error {calibration_error(bins):.3f}")
    return bins


def logistic(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[float, float]:
    """Offset and slope of a logistic regression, by Newton's method."""
    features = np.stack([np.ones_like(x), x], axis=1)
    weights = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-features @ weights))
        hessian = features.T @ (features * (p * (1 - p))[:, None]) + 1e-6 * np.eye(2)
        weights += np.linalg.solve(hessian, features.T @ (y - p))
    return float(weights[0]), float(weights[1])


def hotword_list(
    kept: Sequence[Kept], lm: NgramModel, distractors: int, boost: float = 1.0
) -> tuple[set[str], list[Hotword]]:
    """The 200 rarest words of a data set, and those with as many rare words of the model as are asked for."""
    unigrams = lm.unigrams()
    words = sorted({word for k in kept for word in k.text.split()}, key=lambda w: (float(unigrams[lm.word_id(w)]), w))
    rare = set(words[:200])
    rng = random.Random(0)
    nodes = np.flatnonzero(lm.trie.word >= 0)
    nodes = nodes[np.argsort(unigrams[lm.trie.word[nodes]])[: len(nodes) // 2]]
    others = [lm.trie.spelling(int(node)) for node in rng.sample(nodes.tolist(), min(len(nodes), distractors))]
    return rare, [Hotword(word, boost) for word in sorted(rare | {w for w in others if w.strip("'")})]


def said(words: Sequence[Hotword], lm: NgramModel) -> list[Hotword]:
    """Those with a pronunciation: one without would send the search back to word pieces."""
    trie = lm.phones
    return [word for word in words if trie is not None and trie.say(lm.word_id(word.phrase))]


def measure_hotwords(kept: Sequence[Kept], lm: NgramModel, decoder: Decoder) -> None:
    """Prints how many of the rarest words are found with phrases, and the error rate of all other words."""
    audio = sum(k.seconds for k in kept)
    print(
        "| boost | distractors | rare words found % | others' WER % | ms per second |\n| --- | --- | --- | --- | --- |"
    )
    for boost, distractors in ((0.0, -1), (0.5, 100), (1.0, 100), (1.5, 100), (2.0, 100), (1.0, 1000)):
        rare, phrases = hotword_list(kept, lm, max(0, distractors), boost)
        if decoder.phones:
            phrases = said(phrases, lm)
        result = run(decoder, kept, phrases if distractors >= 0 else [])
        found, there, errors, others = 0, 0, 0, 0
        for utterance, decoded in zip(kept, result.decoded, strict=True):
            reference, hit = utterance.text.split(), words_hit(utterance.text, decoded.text)
            there += sum(word in rare for word in reference)
            found += sum(word in rare and good for word, good in zip(reference, hit, strict=True))
            others += sum(word not in rare for word in reference)
            errors += sum(word not in rare and not good for word, good in zip(reference, hit, strict=True))
            errors += word_errors(utterance.text, decoded.text).insertions
        name = "none" if distractors < 0 else str(distractors)
        cells = f"{boost} | {name} | {100 * found / max(1, there):.1f} | {100 * errors / max(1, others):.2f}"
        print(f"| {cells} | {1000 * result.seconds / audio:.2f} |", flush=True)


def measure_known(kept: Sequence[Kept], decoders: Sequence[Decoder], manifests: Sequence[Path]) -> None:
    """Prints how many words are missed, greedily and with ``lm``, by how often the manifests' transcripts hold them."""
    counts = count_words(manifests)
    print(f"{sum(counts.values()):,} words, {len(counts):,} different ones, in {len(manifests)} manifests")
    hits = [
        (counts[word], i, hit)
        for i, decoder in enumerate(decoders)
        for utterance, decoded in zip(kept, run(decoder, kept).decoded, strict=True)
        for word, hit in zip(utterance.text.split(), words_hit(utterance.text, decoded.text), strict=True)
    ]
    print("| heard so often | words | share | greedy misses % | its misses | lm misses % | its misses |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for low, high in pairwise(OFTEN):
        there = [[hit for count, i, hit in hits if i == which and low <= count < high] for which in (0, 1)]
        cells = [str(len(there[0])), f"{2 * len(there[0]) / max(1, len(hits)):.1%}"]
        for which, right in enumerate(there):
            missed, all_missed = right.count(False), sum(i == which and not hit for _, i, hit in hits)
            cells += [f"{100 * missed / max(1, len(right)):.1f}", f"{missed / max(1, all_missed):.1%}"]
        name = str(low) if high == low + 1 else f"{low} to {high - 1}" if high < OFTEN[-1] else f"{low} or more"
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="log-probabilities of scripts/log_probs.py")
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth utterance only")
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--lexicon", action="store_true", help="tune with the lexicon")
    parser.add_argument("--pieces", action="store_true", help="lm reads word pieces although there are phones")
    for name in ("tune", "confidence", "hotwords"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="reliability plot of --confidence")
    parser.add_argument("--known", type=Path, nargs="+", metavar="MANIFEST", help=".jsonl of training transcripts")
    args = parser.parse_args()
    try:
        kept, pieces, encoder, phones = read(args.file)
        share = sum(k.seconds for k in kept[:: args.every]) / sum(k.seconds for k in kept)
        kept = kept[:: args.every]
        lm = NgramModel.load(args.lm)
        heard = None if args.pieces or lm.phones is None else phones
        config = replace(DEFAULTS[LM] if heard is None else PHONE_SEARCH, lexicon=args.lexicon)
        decoders = {LM: Decoder(LM, pieces, lm=lm, config=config, phones=heard), GREEDY: Decoder(GREEDY, pieces)}

        def confidence() -> None:
            results = {name: fit_confidence(kept, pieces, decoder) for name, decoder in decoders.items()}
            if args.plot:
                draw_reliability(results, args.plot)

        jobs: list[tuple[bool, Callable[[], object]]] = [
            (args.tune, lambda: print(tune(kept, pieces, lm, config, heard))),
            (args.confidence, confidence),
            (args.hotwords, lambda: measure_hotwords(kept, lm, decoders[LM])),
            (bool(args.known), lambda: measure_known(kept, (decoders[GREEDY], decoders[LM]), args.known)),
        ]
        for wanted, job in jobs:
            if wanted:
                job()
        if not any(wanted for wanted, _ in jobs):
            table(kept, pieces, lm, args.widths, encoder * share, phones)
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
