"""What the command says to the shell."""

from typing import Final

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
SOME_FAILED: Final = 3
SYSTEMIC_FAILURE: Final = 4
INTERRUPTED: Final = 130
