"""Keep pydicom and Pillow from speaking: what they say about a value quotes the value.

That may be somebody's name, and it would go to the terminal or into a log.
"""

import logging
import re
import warnings
from typing import Final

_OURS: Final = ("ignore", None, Warning, re.compile(r"(pydicom|PIL)(\.|\Z)"), 0)


def silence() -> None:
    """Drop the warnings and log records of both libraries.

    Called whenever a film is opened or decoded, since whoever runs this may have set filters of
    his own after the import. ``warnings.catch_warnings`` would not do: it is one for all threads.
    """
    if not warnings.filters or warnings.filters[0] != _OURS:
        warnings.filterwarnings("ignore", module=_OURS[3].pattern)


def _silence_logs() -> None:
    for name in ("pydicom", "PIL"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


_silence_logs()
silence()
