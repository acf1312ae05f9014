"""The language-model file: a header and aligned arrays, memory-mapped; its bytes are described in docs/lm-format.md."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from edge_asr.errors import LanguageModelError

MAGIC = b"EASR-LM\n"
VERSION = 1
ALIGNMENT = 64
DTYPES = {"u8": "<u1", "u16": "<u2", "u32": "<u4", "f32": "<f4"}

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LmFile:
    """The parsed file: what the header says, and the arrays as read-only views of the mapped file.

    Attributes:
        path: The file.
        header: The header's fields but ``arrays``.
        arrays: The arrays by name.
    """

    path: Path
    header: Mapping[str, Any]
    arrays: Mapping[str, Array]

    @classmethod
    def open(cls, path: str | Path) -> LmFile:
        """Maps a file. Only header and sizes are checked here; `NgramModel` checks what the arrays hold.

        Raises:
            LanguageModelError: If it is missing, isn't such a file, is of another version, or is cut off.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise LanguageModelError("missing", file=path) from None
        except (OSError, ValueError) as error:  # an empty file can't be mapped
            raise LanguageModelError(f"can't be read: {error}", file=path) from error
        start = len(MAGIC) + 8
        if len(data) < start or data[: len(MAGIC)] != MAGIC:
            raise LanguageModelError(
                "isn't a language-model file of edge-asr (python -m export lm makes one)", file=path
            )
        version, size = (int(value) for value in np.frombuffer(data, "<u4", 2, len(MAGIC)))
        if version != VERSION:
            raise LanguageModelError(f"is {version}, expected {VERSION}", file=path, field="version")
        header = _header(data[start : start + size], size, path)
        arrays = {}
        for name, place in header.pop("arrays").items():
            arrays[name] = _array(data, name, place, path)
        return cls(path, MappingProxyType(header), MappingProxyType(arrays))

    def array(self, name: str, dtype: str, length: int | None = None) -> Array:
        """Gives an array that must be there.

        Raises:
            LanguageModelError: If it is missing, or has another type or length.
        """
        array = self.arrays.get(name)
        if array is None:
            self.fail(name, "missing")
        if array.dtype != np.dtype(DTYPES[dtype]):
            self.fail(name, f"has type {array.dtype}, expected {dtype}")
        if length is not None and len(array) != length:
            self.fail(name, f"has {len(array)} entries, expected {length}")
        return array

    def integer(self, name: str, least: int, most: int) -> int:
        """Gives an integer of the header that must be in a range."""
        value = self.header.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.fail(name, f"is {value!r}, expected an integer from {least} to {most}")
        return value

    def fail(self, field: str, message: str) -> NoReturn:
        """Raises the error for a field."""
        raise LanguageModelError(message, file=self.path, field=field)


def write_lm_file(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Writes a file in one step: a reader sees the old one or the new one, never half of one.

    Args:
        path: The file.
        header: JSON values.
        arrays: 1-d arrays of one of `DTYPES`, written in this order.
    """
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    # The offsets stand in the header and depend on its length: reserve room for the longest numbers.
    room = len(json.dumps({**header, "arrays": {n: ["u16", 1 << 32, 1 << 32] for n in arrays}})) + 16
    start = _aligned(len(MAGIC) + 8 + room)
    places: dict[str, tuple[str, int, int]] = {}
    offset = start
    for name, array in arrays.items():
        places[name] = (names[array.dtype], offset, len(array))
        offset = _aligned(offset + array.nbytes)
    text = json.dumps({**header, "arrays": places}).encode()
    size = start - len(MAGIC) - 8
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(MAGIC + np.array([VERSION, size], "<u4").tobytes() + text.ljust(size))
        for name, array in arrays.items():
            file.write(b"\0" * (places[name][1] - file.tell()))
            file.write(array.tobytes())
    partial.replace(path)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _header(text: bytes, size: int, path: Path) -> dict[str, Any]:
    if len(text) != size:
        raise LanguageModelError("is cut off inside its header", file=path)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LanguageModelError(f"isn't valid JSON: {error}", file=path, field="header") from error
    if not isinstance(header, dict) or not isinstance(header.get("arrays"), dict):
        raise LanguageModelError("isn't an object with arrays", file=path, field="header")
    return header


def _array(data: mmap.mmap, name: str, place: object, path: Path) -> Array:
    def whole(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    sound = isinstance(place, list) and len(place) == 3 and isinstance(place[0], str) and all(map(whole, place[1:]))
    if not isinstance(place, list) or not sound or place[0] not in DTYPES:
        expected = f"expected [type, offset, length] with a type of {', '.join(DTYPES)}"
        raise LanguageModelError(f"is {place!r}, {expected}", file=path, field=f"arrays.{name}")
    dtype, offset, length = np.dtype(DTYPES[place[0]]), place[1], place[2]
    end = offset + length * dtype.itemsize
    if offset % ALIGNMENT or end > len(data):
        message = f"reaches to byte {end} of {len(data)}: the file is cut off or damaged"
        raise LanguageModelError(message, file=path, field=f"arrays.{name}")
    return np.frombuffer(data, dtype, length, offset)
