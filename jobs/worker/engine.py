"""Protocol for engines, which distribute the films of a job over processors."""

from collections.abc import Generator, Iterable
from typing import Protocol

from screening.files import Found
from screening.inference.pipeline import Screener, Seen
from screening.results import Row


class Engine(Protocol):
    """Turns films into rows."""

    def screen(
        self, screener: Screener, films: Iterable[Found], seen: Seen, batch: int
    ) -> Generator[list[Row], None, None]:
        """Yield rows in the order of `films`, at most `batch` at a time; may be closed early."""
