"""Exit codes of the command line."""

from typing import Final

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
SOME_FAILED: Final = 3
SYSTEMIC_FAILURE: Final = 4
INTERRUPTED: Final = 130


def most_severe(codes: list[int]) -> int:
    """Return a worker's exit code: the most severe exit code of its jobs."""
    order = (
        SYSTEMIC_FAILURE,
        ERROR,
        SOME_FAILED,
        OK,
    )
    return next((code for code in order if code in codes), OK)
