"""A Python with what a bundle needs, and what its program says of films there."""

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

#: Seconds after which an emulation hangs; 200 films take half an hour of a busy machine.
_PATIENCE: Final = 7200.0


@dataclass(frozen=True)
class Machine:
    """Where programs run.

    Attributes:
        python: its interpreter.
        home: of its user; nobody else's.
    """

    python: Path
    home: Path

    @classmethod
    def here(cls, home: Path) -> "Machine":
        """This one, as it is."""
        return cls(Path(sys.executable), home)

    def run(self, *arguments: object, codes: tuple[int, ...] = (0,), **extra: str) -> str:
        """Run Python with these arguments; what it prints."""
        # This machine's modules and libraries are no good for the other.
        ours = ("PYTHON", "LD_", "QEMU_", "SCREENING")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        done = subprocess.run(
            [self.python, *map(str, arguments)],
            env=kept | {"HOME": str(self.home)} | extra,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert done.returncode in codes, done.stderr
        return done.stdout

    def screen(self, films: Path, target: Target, **extra: str) -> dict[str, Row]:
        """Each film's row, from the program in the shipped bundle."""
        report = self.home / f"{films.name}-{target.name}"
        words = [films, "--out", report, "--target", target.name]
        self.run(SHIPPED / PROGRAM, *words, codes=(0, 3), **extra)
        rows = {row.film: row for row in read_rows(report / PREDICTIONS)}
        assert {row.runtime.partition("/")[0] for row in rows.values()} == {target.name}
        return rows
