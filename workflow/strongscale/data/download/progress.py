"""How far a download is: a bar on a terminal, a few lines in a log."""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)


@contextlib.contextmanager
def progress(name: str, total_bytes: int, initial_bytes: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows how many bytes are there: a bar on a terminal, a line every 10 % in a log."""
    if sys.stderr.isatty():
        bar = tqdm(desc=name, total=total_bytes, initial=initial_bytes, unit="B", unit_scale=True)

        def move(there_bytes: int) -> None:
            bar.update(there_bytes - bar.n)

        with logging_redirect_tqdm(), bar:
            yield move
        return
    tenths, total = _tenths(initial_bytes, total_bytes), tqdm.format_sizeof(total_bytes, "B")
    log.info("%s: %s of %s are there", name, tqdm.format_sizeof(initial_bytes, "B"), total)

    def tell(there_bytes: int) -> None:
        nonlocal tenths
        if _tenths(there_bytes, total_bytes) != tenths:
            tenths = _tenths(there_bytes, total_bytes)
            log.info("%s: %d %% of %s", name, 10 * tenths, total)

    yield tell


def _tenths(part_bytes: int, total_bytes: int) -> int:
    return 10 * part_bytes // max(total_bytes, 1)
