"""Screen thousands of mutants with the installed command: ``make fuzz``.

Run ``python -m fuzz.campaign --mutants 20000 --seed 1`` in ``tests/support``. ``--only NUMBER``
reproduces single mutants, and ``--keep FOLDER`` keeps them with their report.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fuzz.bombs import bombs
from fuzz.mutants import Mutant, Mutants
from fuzz.night import Night, night
from screening.results import Row, Status

#: Number of films per job.
JOB: Final = 2500

#: With at least this many runs, the median memory growth is limited: about 20 KB per film.
_MANY: Final = 4
_LEAK: Final = 24 << 20

#: Reasons of films that ended their decoder, listed one by one in the summary.
_DEADLY: Final = ("decoder_crashed", "decode_timeout", "out_of_memory")


@dataclass
class Campaign:
    """All runs so far.

    Args:
        place: folder for the runs.
    """

    place: Path
    nights: list[Night] = field(default_factory=list)

    def add(self, name: str, mutants: Iterable[Mutant], *, flat: bool = True) -> None:
        """Run the command on `mutants` and add the result."""
        self.nights.append(night(self.place / name, mutants, flat=flat))

    @property
    def complaints(self) -> list[str]:
        """Problems of single runs, and memory growth in most runs."""
        complaints = [complaint for one in self.nights for complaint in one.complaints]
        growths = sorted(one.growth for one in self.nights)
        if len(growths) >= _MANY and growths[len(growths) // 2] > _LEAK:
            complaints.append(f"memory grew in most runs: by {growths} bytes")
        return complaints

    @property
    def deadly(self) -> list[Row]:
        """Rows of the films that ended their decoder."""
        return [row for one in self.nights for row in one.rows if row.reason_code in _DEADLY]

    def summary(self) -> Iterator[str]:
        """Yield the lines of a summary."""
        rows = [(row, one.codecs.get(row.film, "")) for one in self.nights for row in one.rows]
        codes = Counter(row.reason_code for row, _codec in rows if row.reason)
        columns = [code for code, _number in codes.most_common()]
        by_codec: dict[str, Counter[str]] = {}
        for row, codec in rows:
            by_codec.setdefault(codec, Counter())[row.reason_code or "scored"] += 1
        head = ["scored", *columns]
        width = max(map(len, by_codec), default=0)
        yield " | ".join([f"{'codec':{width}}", "films", *head])
        for codec, found in sorted(by_codec.items()):
            counts = (f"{found[name]:{len(name)}}" for name in head)
            yield " | ".join([f"{codec:{width}}", f"{found.total():5}", *counts])
        states = Counter(row.status for row, _codec in rows)
        wall = sum(one.wall for one in self.nights)
        yield ""
        yield f"{len(rows)} films: " + ", ".join(f"{states[status]} {status}" for status in Status)
        yield f"{wall:.0f} s of screening, {len(rows) / max(wall, 1e-9):.0f} films a second"
        for one in self.nights:
            quarters = " ".join(f"{memory / 2**20:.0f}" for memory in one.quarters)
            yield (
                f"{len(one.rows)} films in {one.wall:.0f} s; memory by quarter {quarters} MiB, "
                f"peak {one.watch.peak / 2**20:.0f} MiB; {one.watch.started} children, "
                f"at most {one.watch.most_children} at once"
            )
        for row in self.deadly:
            yield f"{row.film}: {row.reason} {row.seconds:.1f} s"
        for complaint in self.complaints:
            yield f"WRONG: {complaint}"


def hostile_files(*, large: bool) -> Iterator[Mutant]:
    """Yield the bombs as mutants."""
    for name, data in bombs(large=large).items():
        yield Mutant(name, "bombs", data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign and print a summary; return 1 if there were problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=20_000, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="other seeds, other mutants")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of mutants, without bombs")
    parser.add_argument("--keep", type=Path, help="a new folder for films and reports")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    mutants = Mutants(options.seed)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        campaign = Campaign(options.keep or Path(place))
        if options.only:
            campaign.add("only", mutants.some(options.only), flat=False)
        else:
            campaign.add("bombs", hostile_files(large=True), flat=False)
            for start in range(0, options.mutants, JOB):
                numbers = range(start, min(start + JOB, options.mutants))
                campaign.add(f"{start:06}", mutants.some(numbers))
    wall = f"seed {options.seed}, {time.monotonic() - started:.0f} s in all"
    sys.stdout.write("\n".join([*campaign.summary(), wall, ""]))
    return 1 if campaign.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
