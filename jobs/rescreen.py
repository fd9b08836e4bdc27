"""Screen a sample of a report's films again and compare the predictions."""

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from exports.bundle import Bundle
from exports.runtimes.load import load_lungs, load_target
from exports.targets import TARGETS
from screening.files import Found, discover
from screening.imaging.film import FULL
from screening.inference.pipeline import Screener, Seen
from screening.inference.sandbox import IsolatedReader
from screening.model.lung_reading import LungReader
from screening.model.lungs import QUALITY
from screening.model.predictor import Predictor
from screening.privacy import PatientKey
from screening.report.verification import VerificationProblem
from screening.results import PREDICTIONS, Row, Status

#: Tolerance for probabilities. The same runtime on the same machine repeats every decimal, in
#: batches of any size; another runtime of the same network differed by up to 8e-6 over 300 films.
TOLERANCE: Final = 1e-4

#: Patient hashes are not compared.
_NO_KEY: Final = PatientKey(bytes(32))


@dataclass(frozen=True)
class Rescreened:
    """Result of screening a sample again.

    Attributes:
        films: number of films in the sample.
        problems: films with a different result; empty if all were reproduced.
    """

    films: int
    problems: Sequence[VerificationProblem]


def rescreen(
    rows: Sequence[Row],
    target: str,
    folder: Path,
    bundle: Bundle,
    most: int,
    seed: int,
    *,
    key: PatientKey | None = None,
) -> Rescreened:
    """Screen a random sample of the scored and refused films of a report again, and compare.

    Args:
        rows: of the report.
        target: name of the target of the bundle that made the rows.
        folder: the report's films.
        most: maximum of films in the sample.
        key: the key of the film hashes, for a report that names films by hashes.

    Raises:
        BundleError: if the bundle lacks a model that the rows were made with.
        RuntimeMissing: if that model's runtime is not installed.
        DecoderError: if films cannot be read at all.
        OSError: if the folder cannot be listed.
    """
    answered = [row for row in rows if row.status in (Status.SCORED, Status.REFUSED)]
    ours = [row for row in answered if row.model_sha256 in ("", bundle.sha256)]
    problems = []
    if others := len(answered) - len(ours):
        why = f"{others} films were not screened with the bundle {bundle.sha256[:16]}"
        problems.append(VerificationProblem(PREDICTIONS, "other_model", why))
    chosen = random.Random(seed).sample(ours, min(most, len(ours)))  # noqa: S311  # no secret
    found = discover(folder)
    present = {one.film: one for one in found}
    if key is not None:
        present |= {key.film(one.film): one for one in found}
    if target not in TARGETS:
        why = f"the films were screened with the target {target!r}, which is unknown"
        problems.append(VerificationProblem(PREDICTIONS, "other_model", why))
    elif chosen:
        predictor = load_target(bundle.path, TARGETS[target])
        lungs = load_lungs(bundle.path, bundle.card, TARGETS[target].runtime)
        if lungs is not None:
            lungs = replace(lungs, refused=_refused_for(rows))
        problems += _answers(chosen, present, folder, bundle, predictor, lungs)
    return Rescreened(len(chosen), problems)


def _answers(
    rows: Sequence[Row],
    present: dict[str, Found],
    folder: Path,
    bundle: Bundle,
    predictor: Predictor,
    lungs: LungReader | None,
) -> Iterator[VerificationProblem]:
    # Older reports do not record the decoding: every film was decoded at full size.
    for exact in (False, True):
        same = [row for row in rows if (row.decoding in ("", FULL)) == exact]
        yield from _answered(same, present, folder, bundle, predictor, lungs, exact=exact)


def _refused_for(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the codes of image quality that films of a report were refused for."""
    codes = {row.reason_code for row in rows if row.status is Status.REFUSED}
    return tuple(code for code in QUALITY if code in codes)


def _answered(
    rows: Sequence[Row],
    present: dict[str, Found],
    folder: Path,
    bundle: Bundle,
    predictor: Predictor,
    lungs: LungReader | None,
    *,
    exact: bool,
) -> Iterator[VerificationProblem]:
    reader = IsolatedReader(folder, bundle.card.preprocessing, exact=exact)
    plain = Screener(reader, bundle.card, bundle.sha256, predictor, _NO_KEY, lungs=lungs)
    with closing(plain) as screener:
        for row in rows:
            found = present.get(row.film)
            if found is None:
                yield VerificationProblem(row.film, "film_missing", f"is not in {folder}")
                continue
            (now,) = screener.screen([found], Seen())
            yield from (
                VerificationProblem(row.film, what, why) for what, why in _differences(row, now)
            )


def _differences(row: Row, now: Row) -> Iterator[tuple[str, str]]:
    """Yield the code and sentence of each difference between a film's new row and the report's."""
    if now.sha256 != row.sha256:
        yield "film_changed", "is not the file that was screened"
        return
    for name in ("status", "tensor_sha256", "threshold"):
        before, after = getattr(row, name), getattr(now, name)
        if before != after:
            yield (
                "not_reproduced",
                f"{name} is {after or 'none'}, the report says {before or 'none'}",
            )
    before, after = row.probability, now.probability
    if before is None or after is None:
        return
    if abs(before - after) > TOLERANCE:
        yield "not_reproduced", f"probability is {after:.6f}, the report says {before:.6f}"
    # A film very close to the threshold may fall on either side of it.
    is_close = row.threshold is not None and abs(before - row.threshold) <= TOLERANCE
    if row.prediction != now.prediction and not is_close:
        yield "not_reproduced", f"prediction is {now.prediction}, the report says {row.prediction}"
