"""One normaliser for all recognisers that are compared: what differs in spelling alone must not count as an error.

Recognisers write for people ("Mr. Hale paid $1,200 in the 1840s."), references are bare words. Both sides go through
`comparable`; nothing is done to one side alone. In this order:

1. What stands in round, square or angle brackets is left out: remarks such as [BLANK_AUDIO] are not speech.
2. Mr, Mrs, Dr, St, Prof, Capt, Col, Jr and Sr are written out, with or without their full stop.
3. Numbers are spelled out, the American way (no "and"): money, times of day, decades, ordinals, percentages,
   decimals, and whole numbers. Four digits without a comma from 1100 to 1999 and from 2010 to 2099 are read in pairs,
   as years are.
4. "&" becomes "and".
5. Upper case, accents dropped; everything but A to Z and apostrophes separates words (`normalise`).
6. "and" goes after hundred, thousand or million when a number follows: digits do not say whether it was spoken.
7. Apostrophes stay inside words (don't) and go at their edges ('tis, the boys'): they are quotation marks too often.

Left as they are, and counted as errors where they differ: British and American spellings, contractions, compounds
written as one word or two (a hyphen separates), fillers, and abbreviations that are not in 2.
"""

from __future__ import annotations

import re

from edge_asr.decoding.text import normalise

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_ONES = (*_DIGITS, *_TEENS)
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS |= {"twelve": "twelfth"}
_TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "st": "saint",
    "prof": "professor",
    "capt": "captain",
    "col": "colonel",
    "jr": "junior",
    "sr": "senior",
}
_UNITS = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_SMALL_COINS = {"cent": "cents", "penny": "pence"}
_LARGEST = 10**15

_REMARK = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|<[^<>]*>")
_TITLE = re.compile(rf"\b({'|'.join(_TITLES)})\b\.?", re.IGNORECASE)
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_MONEY = re.compile(rf"([$£€])\s?({_NUMBER})(?:\s(hundred|thousand|million|billion|trillion)\b)?", re.IGNORECASE)
_TIME = re.compile(r"\b(\d{1,2}):(\d{2})\b")
_DECADE = re.compile(r"\b(\d{1,3}0)['’]?s\b")
_ORDINAL = re.compile(r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_PERCENT = re.compile(rf"({_NUMBER})\s?%")
_PLAIN = re.compile(_NUMBER)
_SMALL = "|".join(word.upper() for word in (*_ONES, *_TENS))
_AND = re.compile(rf"\b(HUNDRED|THOUSAND|MILLION) AND (?=(?:{_SMALL})\b)")


def comparable(text: str) -> str:
    """Normalise a reference or a hypothesis; the rules are those of this file's head.

    Example:
        >>> comparable("“Mr. Hale paid $1,200 in the 1840s — on the 21st, at 3:05.”")
        'MISTER HALE PAID ONE THOUSAND TWO HUNDRED DOLLARS IN THE EIGHTEEN FORTIES ON THE TWENTY FIRST AT THREE OH FIVE'
        >>> comparable("'Tis 50% more, they don't say (laughs)")
        "TIS FIFTY PERCENT MORE THEY DON'T SAY"
    """
    text = _REMARK.sub(" ", text)
    text = _TITLE.sub(lambda m: _TITLES[m[1].lower()], text)
    text = _MONEY.sub(_money, text)
    text = _TIME.sub(_time, text)
    text = _DECADE.sub(lambda m: f" {_plural(number(m[1]))} ", text)
    text = _ORDINAL.sub(lambda m: f" {ordinal(int(m[1].replace(',', '')))} ", text)
    text = _PERCENT.sub(lambda m: f" {number(m[1])} percent ", text)
    text = _PLAIN.sub(lambda m: f" {number(m[0])} ", text)
    words = (word.strip("'") for word in normalise(text.replace("&", " and ")).split())
    return _AND.sub(r"\1 ", " ".join(word for word in words if word))


def number(digits: str) -> str:
    """Read a number as it is written, with thousands' commas or a decimal point or neither.

    Example:
        >>> number("1,200"), number("1840"), number("3.14"), number("007")
        ('one thousand two hundred', 'eighteen forty', 'three point one four', 'zero zero seven')
    """
    whole, _, decimals = digits.partition(".")
    plain = whole.replace(",", "")
    if (plain[0] == "0" and len(plain) > 1) or int(plain) >= _LARGEST:
        read = _one_by_one(plain)
    elif len(whole) == 4 and not decimals and (1100 <= int(plain) <= 1999 or 2010 <= int(plain) <= 2099):
        read = _pairs(int(plain))
    else:
        read = cardinal(int(plain))
    return f"{read} point {_one_by_one(decimals)}" if decimals else read


def cardinal(n: int) -> str:
    """Spell a whole number from 0, below a thousand trillion.

    Example:
        >>> cardinal(1_000_042)
        'one million forty two'
    """
    if n < 20:
        return _ONES[n]
    if n < 100:
        return _TENS[n // 10 - 2] + (f" {_ONES[n % 10]}" if n % 10 else "")
    size, name = next((size, name) for size, name in _SCALES if n >= size)
    return f"{cardinal(n // size)} {name}" + (f" {cardinal(n % size)}" if n % size else "")


def ordinal(n: int) -> str:
    """Spell an ordinal.

    Example:
        >>> ordinal(21), ordinal(30), ordinal(100)
        ('twenty first', 'thirtieth', 'one hundredth')
    """
    if n >= _LARGEST:
        return _one_by_one(str(n))
    first, _, last = cardinal(n).rpartition(" ")
    read = _ORDINALS.get(last, f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return f"{first} {read}".strip()


def _pairs(n: int) -> str:
    high, low = divmod(n, 100)
    rest = "hundred" if low == 0 else f"oh {_ONES[low]}" if low < 10 else cardinal(low)
    return f"{cardinal(high)} {rest}"


def _one_by_one(digits: str) -> str:
    return " ".join(_ONES[int(digit)] for digit in digits)


def _plural(words: str) -> str:
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _money(match: re.Match[str]) -> str:
    unit, small = _UNITS[match[1]]
    whole, _, decimals = match[2].partition(".")
    if match[3]:
        return f" {number(match[2])} {match[3]} {unit}s "
    amount = int(whole.replace(",", ""))
    if len(decimals) not in (0, 2) or amount >= _LARGEST:
        return f" {number(match[2])} {unit}s "
    read = f"{cardinal(amount)} {unit}{'' if amount == 1 else 's'}"
    if decimals and int(decimals):
        read += f" and {cardinal(int(decimals))} {small if int(decimals) == 1 else _SMALL_COINS[small]}"
    return f" {read} "


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    if minute == 0:
        return f" {cardinal(hour)} o'clock "
    return f" {cardinal(hour)} {f'oh {_ONES[minute]}' if minute < 10 else cardinal(minute)} "
