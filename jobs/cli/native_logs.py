"""Keep TensorFlow's start-up chatter off the terminal.

Its C++ parts write informational lines straight to the file descriptor, and no setting that they
document stops them. Errors still come through.
"""

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: absl's severity, month and day, or thread-less start-up form; and LiteRT's greeting.
_CHATTER: Final = re.compile(
    rb"^(WARNING: All log messages before absl|INFO: Created TensorFlow|To enable the following instr|[IW]\d{4} )"
)


@contextmanager
def native_logs_filtered() -> Iterator[None]:
    """Within the block, drop chatter that native code writes to standard error."""
    sys.stderr.flush()
    real = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    pump = threading.Thread(target=_pump, args=(reading, real), daemon=True)
    pump.start()
    python_stderr, sys.stderr = sys.stderr, os.fdopen(os.dup(real), "w", buffering=1)
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = python_stderr
        # The last copy of the pipe's end goes with this, so the pump sees its end.
        os.dup2(real, 2)
        pump.join(timeout=5)
        os.close(real)


def _pump(reading: int, real: int) -> None:
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            if not _CHATTER.match(line):
                os.write(real, line)
