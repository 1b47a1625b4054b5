"""What all command lines share: logging, and one line instead of a traceback for what is foreseen."""

import logging
import sys
from collections.abc import Callable

from strongscale.common.errors import RunError, UserError

log = logging.getLogger(__name__)


def run(main: Callable[[list[str]], None]) -> None:
    """Run a stage's `main` with the command line's arguments; exit with 1, and one line where that says it all."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every font in every PDF
    try:
        main(sys.argv[1:])
    except (UserError, RunError) as error:
        log.error("%s", error)
        sys.exit(1)
    except OSError as error:  # a full disk, a missing permission: the system's words and the file say it all
        if error.filename is None and error.strerror is None:
            raise
        log.error("%s: %s", error.filename or "writing results", error.strerror)
        sys.exit(1)
