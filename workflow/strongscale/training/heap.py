"""Memory that a step has freed is kept for the next one, which needs just as much."""

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_KEPT = 32 * 2**20  # as much as glibc lets its heap serve
MOST_KEPT = 2**31 - 1


def keep_freed_memory(most: int = MOST_KEPT) -> None:
    """Don't give up to so many bytes back to the system, which would have to clear them anew; only glibc knows how."""
    with contextlib.suppress(OSError, AttributeError):
        malloc = ctypes.CDLL(None).mallopt
        malloc(M_MMAP_THRESHOLD, LARGEST_KEPT)
        malloc(M_TRIM_THRESHOLD, most)
