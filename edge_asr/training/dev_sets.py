"""The dev samples of a run: what its weights are scored on, during training and afterwards."""

from __future__ import annotations

from pathlib import Path

from edge_asr.model.config import SIDE
from edge_asr.model.model import AsrModel
from edge_asr.training.config import TrainConfig
from edge_asr.training.data.batches import Loader, open_store, read_part, sample_cuts
from edge_asr.training.scoring import Read, Score, score_exits
from edge_asr.training.tokenizer import Tokenizer

SAMPLE_SEED = 7
BATCH = 8  # utterances, sorted by length


class DevSets:
    """Samples of the dev corpora, in batches, always the same ones for the same configuration.

    Args:
        config: the run; ``data.dev`` names the corpora, ``data.dev_utterances`` says how many utterances of each.
        prepared: folder written by ``scripts/prepare_data.py``.
        tokenizer: of the models that will be scored.

    Raises:
        DataError: the prepared folder lacks a corpus.

    Example:
        >>> model, tokenizer, _ = load_weights(Path("models/en-tiny.safetensors"))  # doctest: +SKIP
        >>> config = TrainConfig.load(Path("scripts/configs/en-tiny.yaml"))  # doctest: +SKIP
        >>> scores = DevSets(config, Path("prepared"), tokenizer).score(model)  # doctest: +SKIP
        >>> scores["librispeech-dev-clean-10spk"].wers  # doctest: +SKIP
        [0.81, 0.55, 0.41, 0.37, 0.35, 0.33]
    """

    def __init__(self, config: TrainConfig, prepared: Path, tokenizer: Tokenizer) -> None:
        dev = read_part(prepared, "dev", config.data.dev)
        store = open_store(prepared, "dev", list(dev), (1.0,))
        loader = Loader(dev, store, tokenizer, None, config.data, batch_seconds=60.0, seed=0)
        self.config, self.tokenizer = config, tokenizer
        self.batches = {}
        for name, cuts in dev.items():
            chosen = sample_cuts(cuts, config.data.dev_utterances, seed=SAMPLE_SEED)
            store.check(chosen, (1.0,))
            self.batches[name] = [loader.collate(chosen[i : i + BATCH], None) for i in range(0, len(chosen), BATCH)]

    def score(self, model: AsrModel, read: Read | None = None) -> dict[str, Score]:
        """Word errors on each corpus at 640 ms: of all exits greedily, or of the last one with a reader of one's own.

        Two-speed encoders are scored as bundles ship them, with frames on either side of a chunk; others at the most
        frequent look-ahead, offline encoders on whole utterances.

        Args:
            model: its averaged weights, in evaluation mode.
            read: makes text of an utterance's (T, V + P) log-probabilities, for instance by a search.
        """
        looks = self.config.optim.look_ahead
        chunk, look_ahead = 16 if model.encoder.streams else None, max(looks, key=lambda r: looks[r])
        if model.config.architecture.startswith("splitformer-two-speed"):
            look_ahead = max(SIDE, model.config.overlap)
            model.overlapping(look_ahead)
        return {
            name: score_exits(model, batches, self.tokenizer, chunk=chunk, look_ahead=look_ahead, read=read)
            for name, batches in self.batches.items()
        }
