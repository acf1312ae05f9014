"""Hotwords: phrases that a search prefers, found in the letters of what it spells, whatever the pieces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.text import normalise
from edge_asr.decoding.tokens import WORD_START
from edge_asr.errors import OptionError

MOST = 10_000
"""Phrases in a list."""
LONGEST = 100
"""Letters in a phrase."""
LARGEST_BOOST = 20.0
WAYS = 16
"""Pronunciations of a phrase that are looked for."""


@dataclass(frozen=True, slots=True)
class Hotword:
    """A phrase and its boost in nats per letter; a boost below 0 makes it less likely than it is.

    Args:
        phrase: Its words; normalised to what the model spells: ``Zoë's`` becomes ``ZOE'S``.
        boost: From -20 to 20. With 0 the words are only made known to a lexicon.
        said: Its pronunciation, where a search on phones needs it because the language model lacks a word: ARPAbet, as
            in CMUdict (stress is ignored), words separated by ``/``. A word that nothing is said of is looked up.

    Raises:
        OptionError: If nothing is left of the phrase, it is too long, the boost is out of range, or the pronunciation
            isn't of as many words.

    Example:
        >>> Hotword("Zoë's café", 1.5).phrase
        "ZOE'S CAFE"
        >>> Hotword("Mount Kowalski", said="/ K AH0 W AA1 L S K IY0").ways
        ((), ('K', 'AH', 'W', 'AA', 'L', 'S', 'K', 'IY'))
    """

    phrase: str
    boost: float = 1.0
    said: str = ""

    def __post_init__(self) -> None:
        words = normalise(self.phrase) if isinstance(self.phrase, str) else ""
        if not words or len(words) > LONGEST:
            raise OptionError(f"hotword {self.phrase!r}: expected 1 to {LONGEST} letters, with A to Z in them")
        number = isinstance(self.boost, (int, float)) and not isinstance(self.boost, bool)
        if not number or not -LARGEST_BOOST <= self.boost <= LARGEST_BOOST:
            expected = f"expected a number from -{LARGEST_BOOST:g} to {LARGEST_BOOST:g}"
            raise OptionError(f"hotword {self.phrase!r}: boost {self.boost!r}, {expected}")
        object.__setattr__(self, "phrase", words)
        ways = self.ways
        if len(ways) != len(words.split()):
            expected = f"expected one for each of {len(words.split())} words, separated by '/'"
            raise OptionError(f"hotword {self.phrase!r}: {len(ways)} pronunciations in {self.said!r}, {expected}")
        if bad := [phone for way in ways for phone in way if not re.fullmatch("[A-Z]+", phone)]:
            raise OptionError(f"hotword {self.phrase!r}: {bad[0]!r} is no phone; expected ARPAbet, such as 'K AH0 M'")

    @property
    def ways(self) -> tuple[tuple[str, ...], ...]:
        """The phones of each word, without stress; none where nothing is said."""
        parts = self.said.split("/") if self.said.strip() else [""] * len(self.phrase.split())
        return tuple(tuple(phone.rstrip("012") for phone in part.upper().split()) for part in parts)

    @property
    def whole(self) -> float:
        """The boost of the whole phrase in nats."""
        return self.boost * len(self.phrase.replace(" ", ""))


def read_hotwords(path: str | Path, boost: float = 1.0) -> list[Hotword]:
    """Reads a list: a phrase a line, after a tab its boost, after another one how it is said; ``#`` begins a remark.

    The boost is ``boost`` where none is given.

    Raises:
        OptionError: If the file can't be read, isn't UTF-8, is too long, or a line is malformed; says which.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise OptionError(f"hotwords {str(path)!r}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise OptionError(f"hotwords {str(path)!r}: can't be read: {error.strerror or error}") from error
    except ValueError as error:  # a path with a NUL
        raise OptionError(f"hotwords {str(path)!r}: can't be read: {error}") from error
    hotwords = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            hotword = read_hotword(line, number, boost)
        except OptionError as error:
            raise OptionError(f"hotwords {str(path)!r}, {error}") from error
        if hotword is not None:
            hotwords.append(hotword)
    if len(hotwords) > MOST:
        raise OptionError(f"hotwords {str(path)!r}: {len(hotwords)} phrases; at most {MOST}")
    return hotwords


def read_hotword(line: str, number: int, boost: float = 1.0) -> Hotword | None:
    """Reads a line of a list; None if there is no phrase in it.

    Raises:
        OptionError: If it is malformed; says in which line.

    Example:
        >>> read_hotword("Kowalski\\t1.5\\tK AH W AA L S K IY  # a name", 1)
        Hotword(phrase='KOWALSKI', boost=1.5, said='K AH W AA L S K IY')
    """
    phrase, _, rest = line.partition("#")[0].partition("\t")
    own, _, said = rest.partition("\t")
    if not phrase.strip() and not rest.strip():
        return None
    try:
        return Hotword(phrase, float(own) if own.strip() else boost, said.strip())
    except ValueError as error:
        raise OptionError(f"line {number}: {error}") from error


def phone_texts(phones: Sequence[str]) -> list[str]:
    """Gives each phone a character of its own, after a space where it begins a word: their names are no letters.

    Example:
        >>> phone_texts(("<blank>", "N", "NG", "▁N"))[1] == phone_texts(("<blank>", "N", "NG", "▁N"))[3].strip()
        True
    """
    codes = {
        name: chr(256 + code) for code, name in enumerate(dict.fromkeys(p.removeprefix(WORD_START) for p in phones))
    }
    return [" "[: name.startswith(WORD_START)] + codes[name.removeprefix(WORD_START)] for name in phones]


class HotwordGraph:
    """An Aho–Corasick automaton over letters, stepped by pieces (or over phones, see `spoken`).

    While a phrase is being spelled, a hypothesis carries a share of its boost as a loan (``ahead``); it is
    taken back if the phrase isn't completed, and kept (``gain``) if it is. So a hypothesis without a whole
    phrase ends with the score that it would have had, and on the way is never ahead by more than the largest boost.
    Spaces in a row are one: between words, and where a piece of audio ends.
    Source: Aho and Corasick 1975, "Efficient string matching".

    Args:
        hotwords: The phrases; of equal ones the last counts.
        pieces: The token table's pieces.
        blank: Id of the blank.

    Attributes:
        next: (S, V) int32 state after a piece.
        gain: (S, V) float32 boosts of the phrases completed by a piece.
        ahead: (S,) loan in a state.
        end: (S,) boosts of the phrases that the end of the text completes.
        complete: (S,) whether a word may end here because a phrase has it.
        space: (S,) the state after the end of a word.

    Raises:
        OptionError: If a phrase has a letter that no piece has, or there are too many phrases.
    """

    START = 0

    def __init__(self, hotwords: Sequence[Hotword], pieces: Sequence[str], blank: int = 0) -> None:
        if len(hotwords) > MOST:
            raise OptionError(f"hotwords: {len(hotwords)} phrases; at most {MOST}")
        spelled = ["" if i == blank else piece.replace(WORD_START, " ") for i, piece in enumerate(pieces)]
        letters = set("".join(spelled))
        boosts = {}
        for hotword in hotwords:
            if bad := sorted(set(hotword.phrase) - letters - {" "}):
                raise OptionError(f"hotword {hotword.phrase!r}: the model can't spell {''.join(bad)!r}")
            boosts[hotword.phrase] = hotword.whole
        self._build(boosts, spelled)

    @classmethod
    def spoken(
        cls, hotwords: Sequence[Hotword], phones: Sequence[str], say: Callable[[str], Sequence[Sequence[int]]]
    ) -> HotwordGraph | None:
        """Gives the graph that is stepped by phones; a phrase is found in each of its pronunciations.

        Args:
            hotwords: The phrases.
            phones: The phones' names, the blank first; ``▁`` begins a word.
            say: Gives a word's pronunciations as ids of phones, none if it has none.

        Returns:
            The graph; None if a word has no pronunciation.
        """
        texts, boosts = phone_texts(phones), {}
        for hotword in hotwords:
            ways = [["".join(texts[phone] for phone in way) for way in say(word)] for word in hotword.phrase.split()]
            if not all(ways):
                return None
            for way in islice(product(*ways), WAYS):
                boosts["".join(way).strip()] = hotword.whole
        graph = cls.__new__(cls)
        graph._build(boosts, ["", *texts[1:]])
        return graph

    def _build(self, boosts: Mapping[str, float], spelled: Sequence[str]) -> None:
        """Makes the automaton of phrases and their whole boosts, over the tokens' texts."""
        alphabet = {char: i for i, char in enumerate(sorted({" ", *"".join(spelled)}))}
        children, depth, loan, reward = _trie(boosts, alphabet)
        goto, reward, loan = _automaton(children, loan, reward, len(alphabet))
        states, space = len(goto), alphabet[" "]
        between = np.zeros(states, dtype=bool)  # after a space: another one there says nothing
        between[[below[space] for below in children if space in below]] = True
        goto[between, space] = np.flatnonzero(between)
        self.ahead = loan
        self.space = goto[:, space].astype(np.int64)
        self.end = np.where(between, 0.0, reward[self.space])
        self.complete = ~between & (depth[self.space] > 1)
        self.next = np.empty((states, len(spelled)), dtype=np.int32)
        self.gain = np.zeros((states, len(spelled)), dtype=np.float32)
        for token, text in enumerate(spelled):
            state = np.arange(states)
            for char in text:
                before, state = state, goto[state, alphabet[char]]
                self.gain[:, token] += np.where(between[before], 0.0, reward[state]) if char == " " else reward[state]
            self.next[:, token] = state


def _trie(boosts: Mapping[str, float], alphabet: Mapping[str, int]) -> tuple[list[dict[int, int]], Any, Any, Any]:
    """All phrases, with a space before and after, as a trie: children, depth, loan and reward of each state."""
    children: list[dict[int, int]] = [{}]
    depth, loan, reward = [0], [0.0], [0.0]
    for phrase, whole in boosts.items():
        state = HotwordGraph.START
        for place, char in enumerate(f" {phrase} "):
            letter = alphabet[char]
            if letter not in children[state]:
                children[state][letter] = len(children)
                children.append({})
                depth.append(place + 1)
                loan.append(0.0)
                reward.append(0.0)
            state = children[state][letter]
            if place <= len(phrase):  # a loan grows letter by letter
                loan[state] = max(loan[state], whole * place / (len(phrase) + 1))
        reward[state] += whole
    return children, np.array(depth), np.array(loan), np.array(reward)


def _automaton(
    children: list[dict[int, int]], loan: Any, reward: Any, size: int
) -> tuple[npt.NDArray[np.int32], Any, Any]:
    """Adds the arrows for letters that no phrase goes on with: to the longest suffix that is a state."""
    goto = np.zeros((len(children), size), dtype=np.int32)
    fail = np.zeros(len(children), dtype=np.int32)
    reward, loan = reward.copy(), loan.copy()
    queue = [HotwordGraph.START]
    for state in queue:
        if state != HotwordGraph.START:
            goto[state] = goto[fail[state]]
            reward[state] += reward[fail[state]]
            loan[state] = max(loan[state], loan[fail[state]])
        for letter, child in children[state].items():
            fail[child] = goto[fail[state], letter] if state != HotwordGraph.START else HotwordGraph.START
            goto[state, letter] = child
            queue.append(child)
    return goto, reward, loan
