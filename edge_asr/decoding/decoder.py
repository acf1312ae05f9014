"""Decoders by name: what they need is prepared once and shared by all streams."""

from __future__ import annotations

from collections.abc import Sequence

from edge_asr.decoding.beam import BeamSearch, best_words
from edge_asr.decoding.beam_config import BeamConfig
from edge_asr.decoding.beam_decoding import BeamDecoding
from edge_asr.decoding.decoding import Decoding, GreedyDecoding
from edge_asr.decoding.hotwords import Hotword, HotwordGraph
from edge_asr.decoding.lexicon import Lexicon
from edge_asr.decoding.ngram import NgramModel
from edge_asr.decoding.words import Confidence
from edge_asr.errors import OptionError

GREEDY, BEAM, LM = "greedy", "beam", "lm"
DECODERS = (GREEDY, BEAM, LM)

LM_SEARCH = BeamConfig(
    width=96,
    beam=8.0,
    tokens=8,
    token_min=2e-4,
    blank_penalty=2.0,
    acoustic_scale=0.65,
    lm_weight=0.65,
    word_bonus=1.0,
)
DEFAULTS = {BEAM: BeamConfig(width=8, word_bonus=0.0), LM: LM_SEARCH}
"""Tuned on LibriSpeech dev-clean; scripts/decoders.py does it."""

CONFIDENCES = {GREEDY: Confidence(), BEAM: Confidence(), LM: Confidence(offset=0.15, slope=2.47)}
"""Fitted on the same; a language model mends words whose tokens were unlikely."""


class Decoder:
    """How log-probabilities become text; `start` begins a stream's decoding.

    ``greedy`` takes the best token of each frame; ``beam`` sums over alignments and spellings; ``lm`` also
    weighs words by a language model.

    Args:
        name: One of `DECODERS`.
        pieces: The token table's pieces.
        blank: Id of the blank.
        lm: The language model; needed by ``lm`` alone.
        config: Widths and weights; None for the defaults.
        confidence: What a word's confidence is made of; None for the defaults.

    Raises:
        OptionError: If there is no such decoder, or ``lm`` lacks its model.

    Example:
        >>> decoding = Decoder("beam", ("<blank>", "▁A", "B")).start()
        >>> decoding.push(np.log(np.eye(3, dtype=np.float32)[[1, 0, 2]] + 1e-4))
        >>> decoding.result().text
        'AB'
    """

    def __init__(
        self,
        name: str,
        pieces: tuple[str, ...],
        blank: int = 0,
        *,
        lm: NgramModel | None = None,
        config: BeamConfig | None = None,
        confidence: Confidence | None = None,
    ) -> None:
        if name not in DECODERS:
            raise OptionError(f"decoder={name!r}: expected one of {', '.join(DECODERS)}")
        if name == LM and lm is None:
            raise OptionError(f"decoder={LM!r}: needs a language model, and the bundle has none; name its file")
        self.name, self._pieces, self._blank = name, pieces, blank
        self._confidence = CONFIDENCES[name] if confidence is None else confidence
        self._lm = lm if name == LM else None
        self.config = DEFAULTS.get(name) if config is None else config
        self._lexicon = None if self._lm is None else Lexicon.build(self._lm.trie, pieces, blank)
        self._ahead = None if self._lm is None else best_words(self._lm)

    def start(self, hotwords: Sequence[Hotword] = ()) -> Decoding:
        """Begins a decoding.

        Args:
            hotwords: Phrases to prefer in it.

        Raises:
            OptionError: If there are hotwords and the decoder is greedy, or the model can't spell one.
        """
        if self.name == GREEDY:
            if hotwords:
                raise OptionError(f"hotwords need a search: decoder={BEAM!r} or {LM!r}, not {GREEDY!r}")
            return GreedyDecoding(self._pieces, self._blank, self._confidence)
        assert self.config is not None
        search = BeamSearch(
            self.config,
            self._pieces,
            self._blank,
            lm=self._lm,
            lexicon=self._lexicon,
            ahead=self._ahead,
            hotwords=HotwordGraph(hotwords, self._pieces, self._blank) if hotwords else None,
        )
        return BeamDecoding(search, self._pieces, self._confidence)
