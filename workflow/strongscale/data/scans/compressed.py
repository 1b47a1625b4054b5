"""Voxels of a compressed stream: read piece by piece, so that a box costs no more memory than its slices."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from strongscale.common.errors import UserError

PIECE_BYTES = 1 << 20
ZLIB_OR_GZIP = 47  # zlib's own number for "look at the first bytes"


@dataclass
class CompressedVoxels:
    """Voxels of one zlib or gzip stream that starts at a byte of a file; axis i of `shape` runs fastest."""

    path: Path
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    whole: bool = field(default=False, init=False)  # once the stream was read to its end and had the right length

    def __getitem__(self, box: tuple[slice, slice, slice]) -> Any:
        """The voxels of a box. The first time the stream is read to its end: only there its checksum stands.

        It is read no further than its header promises: a few bytes can hold gigabytes of nothing.
        """
        i, j, k = box
        num_bytes_slice = self.shape[0] * self.shape[1] * self.dtype.itemsize
        promised = math.prod(self.shape) * self.dtype.itemsize
        start, stop = k.start * num_bytes_slice, k.stop * num_bytes_slice
        kept = np.empty(stop - start, dtype=np.uint8)
        position = 0
        for piece in self._pieces():
            low, high = max(start, position), min(stop, position + len(piece))
            if low < high:
                kept[low - start : high - start] = np.frombuffer(piece[low - position : high - position], np.uint8)
            position += len(piece)
            if position > promised or (self.whole and position >= stop):
                break
        if not self.whole:
            self._check_length(position, promised)
        slices_KJI = kept.view(self.dtype).reshape(k.stop - k.start, self.shape[1], self.shape[0])
        return slices_KJI.transpose(2, 1, 0)[i, j]

    def _check_length(self, found: int, promised: int) -> None:
        if found != promised:
            words = f"more than {promised}" if found > promised else f"{found}"
            raise UserError(
                f"{self.path}: {words} bytes when decompressed, but its header promises {promised}; copy the scan "
                "anew, or mend the header's size and kind of voxels"
            )
        self.whole = True

    def _pieces(self) -> Iterator[bytes]:
        """The decompressed stream."""
        stream = zlib.decompressobj(wbits=ZLIB_OR_GZIP)
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while not stream.eof:
                packed = stream.unconsumed_tail or file.read(PIECE_BYTES)
                piece = stream.decompress(packed, PIECE_BYTES)
                if not packed and not piece:
                    raise EOFError("cut short: its checksum is missing")
                yield piece
