"""The way of one film from reading to its row: batch, score, recognition, decision."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.card import Card
from screening.clock import now
from screening.films import Found
from screening.gallery import HEATMAPS, THUMBNAILS, Gallery, place_of
from screening.heatmap import evidence, heatmap_png
from screening.picture import thumbnail_jpeg
from screening.predictor import Predictor
from screening.preprocess import Tensor
from screening.privacy import PatientKey
from screening.reading import FilmReader, ReadFilm
from screening.reasons import reason
from screening.recognition import Recognition
from screening.reference import input_statistics
from screening.row import INPUT_COLUMNS, Row, Status

_AGE_BANDS: Final = ((5, "0-4"), (18, "5-17"), (40, "18-39"), (65, "40-64"), (80, "65-79"))


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
class _Answer:
    """What the model says about one film; without a gate nothing is recognised.

    Attributes:
        activation: for each cell the log odds beyond those at which a film is called, shape
            (r, c); None if the model gives no map.
    """

    probability: float
    recognition: Recognition | None
    activation: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Screener:
    """All that is needed to turn films of one folder into rows.

    :meth:`read` may be called from several threads; :meth:`score` from one, film by film in the
    order of their names, so that "the first by path" of equal files is the same in every run.

    Attributes:
        shown_name: how one film is named in the row of another.
        gallery: where pictures go; None if none are asked for.
    """

    reader: FilmReader
    card: Card
    model_sha256: str
    predictor: Predictor
    key: PatientKey
    shown_name: Callable[[str], str] = str
    gallery: Gallery | None = None

    @property
    def folder(self) -> Path:
        """Where the films are."""
        return self.reader.folder

    def read(self, found: Found) -> ReadFilm:
        """Read, decode, gate and preprocess one film. Never raises for what is in a file."""
        return self.reader.read(found)

    def close(self) -> None:
        """Let go of what reading needed; films still being read are given up."""
        self.reader.close()

    def score(self, films: Sequence[ReadFilm], seen: Seen) -> list[Row]:
        """Rows for films that were read, in the same order; scored as one batch.

        Pictures, if asked for, are on the disk when this returns.

        Raises:
            ReportError: if they cannot be written.
        """
        chosen: dict[str, int] = {}
        for film in films:
            if film.tensor is not None and film.sha256 not in seen.files:
                chosen.setdefault(film.sha256, len(chosen))
        tensors = {film.sha256: film.tensor for film in films if film.sha256 in chosen}
        started = time.perf_counter()
        answers = self._answers([tensors[sha256] for sha256 in chosen])
        share = (time.perf_counter() - started) / max(1, len(chosen))
        rows: list[Row] = []
        for film in films:
            if film.tensor is None:
                row = self._row(film)
            elif film.sha256 in seen.files:
                row = self._duplicate(film, seen.files[film.sha256])
            else:
                row = self._answered(film, answers[chosen[film.sha256]], share, seen)
            seen.add(row)
            rows.append(row)
        return self._drawn(films, rows, {sha: answers[n].activation for sha, n in chosen.items()})

    def _drawn(
        self,
        films: Sequence[ReadFilm],
        rows: list[Row],
        activations: dict[str, npt.NDArray[np.float32] | None],
    ) -> list[Row]:
        """The rows with their pictures, if asked for."""
        if self.gallery is None:
            return rows
        drawn: list[Row] = []
        pictures: dict[str, bytes] = {}
        for film, row in zip(films, rows, strict=True):
            own: dict[str, bytes] = {}
            # Where the pixels say who it is, they are not shown once more.
            if row.status is Status.SCORED and film.header.burned_in_annotation != "YES":
                own = self._pictures(film, activations.get(film.sha256), self.gallery)
            places = {kind: place_of(film.sha256, kind) for kind in own}
            pictures |= {places[kind]: picture for kind, picture in own.items()}
            drawn.append(
                replace(row, heatmap=places.get(HEATMAPS, ""), thumbnail=places.get(THUMBNAILS, ""))
            )
        self.gallery.keep(pictures)
        return drawn

    def _pictures(
        self, film: ReadFilm, activation: npt.NDArray[np.float32] | None, asked: Gallery
    ) -> dict[str, bytes]:
        """What is asked for of one film, by kind."""
        if film.tensor is None:
            return {}
        grey, shape = self.card.preprocessing.grey(film.tensor), (film.rows, film.columns)
        pictures = {}
        if asked.heatmaps and activation is not None:
            pictures[HEATMAPS] = heatmap_png(grey, activation, shape)
        if asked.thumbnails:
            pictures[THUMBNAILS] = thumbnail_jpeg(grey, shape)
        return pictures

    def _answers(self, tensors: list[Tensor | None]) -> list[_Answer]:
        if not tensors:
            return []
        batch = np.stack([tensor for tensor in tensors if tensor is not None])
        prediction = self.predictor.predict(batch)
        probabilities = self.card.calibration.probabilities(prediction.scores)
        gate = self.card.gate
        recognitions = gate.recognise(prediction.embeddings) if gate else [None] * len(batch)
        maps = prediction.maps if self.gallery is not None and self.gallery.heatmaps else None
        activations = (
            [None] * len(batch)
            if maps is None
            else list(self.card.beyond_threshold(evidence(maps)))
        )
        triples = zip(probabilities, recognitions, activations, strict=True)
        return [_Answer(float(p), recognition, cells) for p, recognition, cells in triples]

    def _answered(self, film: ReadFilm, answer: _Answer, share: float, seen: Seen) -> Row:
        recognition = answer.recognition or Recognition()
        if not 0 <= answer.probability <= 1:
            film = replace(film, status=Status.FAILED, reason=reason("no_score"))
        elif recognition.refusal:
            film = replace(film, status=Status.REFUSED, reason=recognition.refusal)
        film = replace(film, seconds=film.seconds + share)
        measured = {
            "frontal": recognition.frontal,
            "domain_distance": recognition.distance,
            "tensor_sha256": film.tensor_sha256,
        }
        if film.status is not Status.SCORED:
            return self._row(film, **measured, warnings="; ".join(film.warnings))
        twin = seen.tensors.get(film.tensor_sha256)
        same = (reason("same_pixels", self.shown_name(twin)),) if twin else ()
        point = self.card.operating_point
        return self._row(
            film,
            **measured,
            **self._inputs(film.tensor),
            probability=answer.probability,
            prediction=point.finding(answer.probability),
            threshold=point.threshold,
            warnings="; ".join(film.warnings + recognition.warnings + same),
        )

    def _inputs(self, tensor: Tensor | None) -> dict[str, float]:
        """What the model was shown looks like, by column."""
        if tensor is None:
            return {}
        measured = input_statistics(self.card.preprocessing.grey(tensor)[np.newaxis])
        return {
            column: round(float(measured[name][0]), 6) for name, column in INPUT_COLUMNS.items()
        }

    def _duplicate(self, film: ReadFilm, first: str) -> Row:
        sentence = reason("same_bytes", self.shown_name(first))
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


def _age_band(years: int | None) -> str:
    if years is None:
        return ""
    return next((band for limit, band in _AGE_BANDS if years < limit), "80+")
