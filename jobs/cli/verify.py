"""``screening verify``."""

import secrets
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from exports.bundle import SHIPPED
from jobs import exit_codes
from jobs.cli.options import FILE, FOLDER, key_option
from screening.printable import printable

if TYPE_CHECKING:
    from screening.verification import Problem

#: Problems of one kind in one file that are printed; the others are counted.
_SHOWN: Final = 20


@click.command()
@click.argument("report", type=FOLDER)
@click.option("--films", type=FOLDER, help="Also screen some films of this folder again.")
@click.option(
    "--model", type=FOLDER, help="Bundle for screening them again.  [default: the shipped one]"
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Number of films to screen again, chosen at random.",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of the random choice.")
@key_option
@click.option("--public-key", type=FILE, help="Require a signature by the matching private key.")
def verify(
    report: Path,
    films: Path | None,
    model: Path | None,
    sample: int,
    seed: int | None,
    key: Path,
    public_key: Path | None,
) -> None:
    """Check that no file of REPORT was changed, added or removed.

    The command names every file that differs, and the line if it can. The exit code
    is then 1. With --films, some films are also screened again and the results are
    compared with the report.

    The hash chain in audit.csv detects changes to a part of the report. It does not
    detect that somebody has rewritten the whole report with new hashes. Only a
    signature detects that: see `screening sign` and --sign-reports.
    """
    from screening.audit import AUDIT, read_audit
    from screening.verification import verify as problems_of
    from screening.verification import written

    if films is None and model is not None:
        raise click.UsageError("--model needs --films, the folder of what is screened once more")
    problems = problems_of(report)
    if any(problem.file == AUDIT for problem in problems):
        # Nothing in it can be relied upon, and so nothing else can be held against it.
        _end(report, problems)
    history = read_audit((report / AUDIT).read_bytes())
    signed, forged = _signature(report, history.head, public_key)
    problems += forged
    again = ""
    if films is not None and not problems:
        seed = secrets.randbelow(2**32) if seed is None else seed
        again, different = _screened_again(report, films, model or SHIPPED, sample, seed, key)
        problems += different
    if not problems:
        click.echo(f"{report}: intact: {printable(written(history))}")
        click.echo(signed)
    if again:
        click.echo(again)
    _end(report, problems)


def _signature(report: Path, head: str, public_key: Path | None) -> "tuple[str, list[Problem]]":
    """What is said of the signature, and what is wrong with it."""
    from screening.audit import SIGNATURE
    from screening.verification import Problem

    is_there = (report / SIGNATURE).exists()
    if public_key is None:
        if is_there:
            return "Its signature was not checked; --public-key does.", []
        return "It is not signed: whoever can write all of it anew is not found.", []
    from exports.signature import is_signed_report

    if is_signed_report(report, head, public_key):
        return f"It is signed with the key that {public_key} is of.", []
    why = f"is no signature of this report with the key that {public_key} is of"
    problem = Problem(SIGNATURE, "forged", why)
    if not is_there:
        problem = Problem(SIGNATURE, "missing", "is missing: the report is not signed")
    return "", [problem]


def _screened_again(
    report: Path, films: Path, model: Path, most: int, seed: int, key: Path
) -> "tuple[str, Sequence[Problem]]":
    """What is said of the films that were screened once more, and which answers differ."""
    from exports.bundle import Bundle
    from jobs.errors import FolderUnreadable
    from jobs.rescreen import rescreen
    from screening.privacy import PatientKey
    from screening.row import PREDICTIONS, read_rows

    rows = read_rows(report / PREDICTIONS)
    # Only a report that hides its films' names needs one.
    named_with = PatientKey.load(key) if key.exists() else None
    try:
        again = rescreen(rows, films, Bundle.open(model), most, seed, named_with)
    except OSError as error:
        raise FolderUnreadable(f"{films} cannot be listed: {error.strerror}") from error
    how = f"{again.films} of {len(rows)} films were screened once more (--seed {seed})"
    return f"{how}." if again.problems else f"{how}: all as reported.", again.problems


def _end(report: Path, problems: "Sequence[Problem]") -> None:
    """Say what is wrong, and end with the exit code for it."""
    kinds: Counter[tuple[str, str]] = Counter()
    for problem in problems:
        kind = (problem.file, problem.what)
        kinds[kind] += 1
        if kinds[kind] <= _SHOWN:
            click.echo(printable(str(problem)))
    for (file, what), number in kinds.items():
        if number > _SHOWN:
            click.echo(printable(f"{file}: {what}: and {number - _SHOWN} more"))
    if problems:
        click.echo(f"{report} is not as it was written: {len(problems)} found", err=True)
    sys.exit(exit_codes.ERROR if problems else exit_codes.OK)
