"""The way of one film: bytes, header, gate, grey values, gate, tensor, score, row."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from screening.card import Card
from screening.clock import now
from screening.errors import NotAFilm, UnreadableFilm
from screening.films import Found, film_path
from screening.gate import refuse_by_header, refuse_by_pixels
from screening.pixels.film import Film, Header
from screening.pixels.readers import open_film
from screening.predictor import Predictor
from screening.preprocess import Tensor
from screening.privacy import PatientKey
from screening.reasons import reason
from screening.row import Row, Status

#: Files larger than this are not read into memory. A 17 x 17 inch film at 100 um and 16 bit has 37 MB.
MAX_BYTES: Final = 1_000_000_000

_AGE_BANDS: Final = ((5, "0-4"), (18, "5-17"), (40, "18-39"), (65, "40-64"), (80, "65-79"))


@dataclass(frozen=True, eq=False)
class ReadFilm:
    """A film on its way: either a tensor to be scored, or the reason why there is none."""

    film: str
    sha256: str = ""
    header: Header = field(default_factory=Header)
    status: Status = Status.SCORED
    reason: str = ""
    tensor: Tensor | None = None
    tensor_sha256: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Seen:
    """Scored films of this job so far: name by hash of the file, and by hash of the tensor."""

    files: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Remember a row, if it is a scored film."""
        if row.status is Status.SCORED:
            self.files.setdefault(row.sha256, row.film)
            self.tensors.setdefault(row.tensor_sha256, row.film)


@dataclass(frozen=True, eq=False)
class Screener:
    """All that is needed to turn films of one folder into rows.

    :meth:`read` may be called from several threads; :meth:`score` from one, film by film in the
    order of their names, so that "the first by path" of equal files is the same in every run.
    """

    folder: Path
    card: Card
    model_sha256: str
    predictor: Predictor
    key: PatientKey

    def read(self, found: Found) -> ReadFilm:
        """Read, decode, gate and preprocess one film. Never raises for what is in a file."""
        started = time.perf_counter()
        data, problem = _bytes_of(self.folder, found)
        if problem is not None:
            return problem
        sha256 = hashlib.sha256(data).hexdigest()
        film = self._open(found.film, sha256, data)
        return replace(film, seconds=time.perf_counter() - started)

    def score(self, films: Sequence[ReadFilm], seen: Seen) -> list[Row]:
        """Rows for films that were read, in the same order; scored as one batch."""
        chosen: dict[str, int] = {}
        for film in films:
            if film.tensor is not None and film.sha256 not in seen.files:
                chosen.setdefault(film.sha256, len(chosen))
        tensors = {film.sha256: film.tensor for film in films if film.sha256 in chosen}
        started = time.perf_counter()
        probabilities = self._probabilities([tensors[sha256] for sha256 in chosen])
        share = (time.perf_counter() - started) / max(1, len(chosen))
        rows = []
        for film in films:
            if film.tensor is None:
                row = self._row(film)
            elif film.sha256 in seen.files:
                row = self._duplicate(film, seen.files[film.sha256])
            else:
                row = self._scored(film, probabilities[chosen[film.sha256]], share, seen)
            seen.add(row)
            rows.append(row)
        return rows

    def _open(self, name: str, sha256: str, data: bytes) -> ReadFilm:
        try:
            film = open_film(data, name)
        except NotAFilm as error:
            return ReadFilm(
                name, sha256, status=Status.REFUSED, reason=reason("not_image", str(error))
            )
        except UnreadableFilm as error:
            return _failed(name, sha256, Header(), error)
        refusal = refuse_by_header(film.header)
        if refusal is not None:
            return ReadFilm(name, sha256, film.header, Status.REFUSED, refusal)
        try:
            return self._prepare(name, sha256, film)
        except UnreadableFilm as error:
            return _failed(name, sha256, film.header, error)

    def _prepare(self, name: str, sha256: str, film: Film) -> ReadFilm:
        grey, warnings = film.decode()
        refusal = refuse_by_pixels(grey)
        if refusal is not None:
            return ReadFilm(name, sha256, film.header, Status.REFUSED, refusal)
        tensor = self.card.preprocessing.tensor(grey)
        return ReadFilm(
            name,
            sha256,
            film.header,
            tensor=tensor,
            tensor_sha256=hashlib.sha256(tensor.tobytes()).hexdigest(),
            warnings=warnings,
        )

    def _probabilities(self, tensors: list[Tensor | None]) -> list[float]:
        if not tensors:
            return []
        batch = np.stack([tensor for tensor in tensors if tensor is not None])
        scores = self.predictor.predict(batch).scores
        return [float(p) for p in self.card.calibration.probabilities(scores)]

    def _scored(self, film: ReadFilm, probability: float, share: float, seen: Seen) -> Row:
        point = self.card.operating_point
        if not 0 <= probability <= 1:
            return self._row(
                replace(film, status=Status.FAILED, reason=reason("no_score"), tensor=None)
            )
        twin = seen.tensors.get(film.tensor_sha256)
        warnings = film.warnings + ((f"same pixels as {twin}",) if twin else ())
        return self._row(
            film,
            probability=probability,
            prediction=point.finding(probability),
            threshold=point.threshold,
            seconds=round(film.seconds + share, 4),
            warnings="; ".join(warnings),
            tensor_sha256=film.tensor_sha256,
        )

    def _duplicate(self, film: ReadFilm, first: str) -> Row:
        sentence = reason("same_bytes", first)
        return self._row(replace(film, status=Status.DUPLICATE, reason=sentence, tensor=None))

    def _row(self, film: ReadFilm, **scored: object) -> Row:
        header = film.header
        values: dict[str, object] = {
            "film": film.film,
            "sha256": film.sha256,
            "status": film.status,
            "reason": film.reason,
            "patient": self.key.hash("patient", header.patient_id),
            "view": header.view_position,
            "modality": header.modality,
            "model": self.card.model,
            "model_sha256": self.model_sha256,
            "screened_at": now(),
            "seconds": round(film.seconds, 4),
            "runtime": self.predictor.runtime,
            "instance": self.key.hash("instance", header.instance_uid),
            "study": self.key.hash("study", header.study_uid),
            "sex": header.patient_sex,
            "age_band": _age_band(header.patient_age),
            "manufacturer": header.manufacturer,
        }
        return Row(**values | scored)  # type: ignore[arg-type]


def _bytes_of(folder: Path, found: Found) -> tuple[bytes, ReadFilm | None]:
    """The file's bytes, or why there are none."""
    if not found.is_file:
        return b"", ReadFilm(found.film, status=Status.REFUSED, reason=reason("not_followed"))
    try:
        path = film_path(folder, found.film)
        if path.stat().st_size > MAX_BYTES:
            error = UnreadableFilm("too_large", f"{path.stat().st_size:,} bytes")
            return b"", _failed(found.film, "", Header(), error)
        return path.read_bytes(), None
    except FileNotFoundError:
        return b"", _failed(found.film, "", Header(), UnreadableFilm("vanished", ""))
    except OSError as error:
        problem = UnreadableFilm("unreadable", error.strerror or type(error).__name__)
        return b"", _failed(found.film, "", Header(), problem)


def _failed(film: str, sha256: str, header: Header, error: UnreadableFilm) -> ReadFilm:
    return ReadFilm(film, sha256, header, Status.FAILED, reason(error.code, error.detail))


def _age_band(years: int | None) -> str:
    if years is None:
        return ""
    return next((band for limit, band in _AGE_BANDS if years < limit), "80+")
