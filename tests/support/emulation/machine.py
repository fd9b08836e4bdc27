"""Run Python and the program of the shipped bundle on this or an emulated machine."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exports.bundle import SHIPPED
from exports.documents import PROGRAM
from exports.targets import Target
from screening.results import PREDICTIONS, Row, read_rows

#: Timeout of an emulation in seconds; 200 films take half an hour on a busy machine.
_TIMEOUT: Final = 7200.0


@dataclass(frozen=True)
class Machine:
    """A machine that runs Python programs.

    Attributes:
        python: path of its interpreter.
        home: home folder of its user, used by no other machine.
    """

    python: Path
    home: Path

    @classmethod
    def here(cls, home: Path) -> "Machine":
        """Return this machine."""
        return cls(Path(sys.executable), home)

    def run(self, *arguments: object, codes: tuple[int, ...] = (0,), **extra: str) -> str:
        """Run Python with these arguments; return its standard output."""
        # Modules and libraries of this machine do not work on the other.
        ours = ("PYTHON", "LD_", "QEMU_", "SCREENING")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        done = subprocess.run(
            [self.python, *map(str, arguments)],
            env=kept | {"HOME": str(self.home)} | extra,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        assert done.returncode in codes, done.stderr
        return done.stdout

    def screen(self, films: Path, target: Target, **extra: str) -> dict[str, Row]:
        """Screen films with the program of the shipped bundle; return the rows by film."""
        report = self.home / f"{films.name}-{target.name}"
        words = [films, "--out", report, "--target", target.name]
        self.run(SHIPPED / PROGRAM, *words, codes=(0, 3), **extra)
        rows = {row.film: row for row in read_rows(report / PREDICTIONS)}
        assert {row.runtime.partition("/")[0] for row in rows.values()} == {target.name}
        return rows
