"""Turn the films of a folder into rows: read, score as a batch, apply the gate, decide."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from screening.files import Found, now
from screening.inference.inference import FilmClassifier, InferenceResult
from screening.inference.reader import FilmReader
from screening.inference.report_images import HEATMAPS, THUMBNAILS, ReportImages, place_of
from screening.model.card import Card
from screening.model.lung_reading import LungReader
from screening.model.predictor import Predictor
from screening.privacy import PatientKey
from screening.results import FilmWarning, Reason, Row, Status, age_band


@dataclass(frozen=True)
class Seen:
    """Scored films of this job so far: their names by file hash and by tensor hash."""

    files: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Record a row if it is a scored film."""
        if row.status is Status.SCORED:
            self.files.setdefault(row.sha256, row.film)
            self.tensors.setdefault(row.tensor_sha256, row.film)


@dataclass(frozen=True, eq=False)
class Screener:
    """Everything needed to turn the films of one folder into rows.

    Several threads may run :meth:`examine`. Only one may run :meth:`rows`, with films in the order
    of their names, so that "the first by path" of equal files is the same in every run.

    Attributes:
        shown_name: maps the name of a film to the form shown in another film's row.
        gallery: stores the pictures; None if none are requested.
        measured: milliseconds per film by target, if the fastest one was chosen; else empty.
        lungs: finds the lungs on films; None if the bundle has no lung network.
        bundle: path of the bundle, for loading the model on other machines; None without a bundle.
    """

    reader: FilmReader
    card: Card
    model_sha256: str
    predictor: Predictor
    key: PatientKey
    shown_name: Callable[[str], str] = str
    gallery: ReportImages | None = None
    measured: Mapping[str, str] = field(default_factory=dict)
    bundle: Path | None = None
    lungs: LungReader | None = None

    @property
    def folder(self) -> Path:
        """The folder of the films."""
        return self.reader.folder

    @property
    def examiner(self) -> FilmClassifier:
        """The classifier, set up to make the requested pictures."""
        gallery = self.gallery
        heatmaps, thumbnails = (gallery.heatmaps, gallery.thumbnails) if gallery else (False, False)
        return FilmClassifier(self.card, self.predictor, heatmaps, thumbnails, self.lungs)

    def close(self) -> None:
        """Release the reader's resources; films still being read are abandoned."""
        self.reader.close()

    def screen(self, films: Sequence[Found], seen: Seen) -> list[Row]:
        """Return rows for films, in the same order; see :meth:`examine` and :meth:`rows`."""
        return self.rows(self.examine(films, seen), seen)

    def examine(self, films: Sequence[Found], seen: Seen) -> list[InferenceResult]:
        """Read films and score them as one batch; never raises because of a file's content."""
        return self.examiner.read(self.reader, films, seen.files.keys())

    def rows(self, films: Sequence[InferenceResult], seen: Seen) -> list[Row]:
        """Return rows for inference results from any machine, in the same order.

        All pictures are on disk when this returns.

        Raises:
            ReportError: if the pictures cannot be written.
        """
        rows: list[Row] = []
        pictures: dict[str, bytes] = {}
        for examined in films:
            row = self._decided(examined, seen)
            seen.add(row)
            if row.status is Status.SCORED:
                places = {kind: place_of(row.sha256, kind) for kind in examined.pictures}
                pictures |= {places[kind]: made for kind, made in examined.pictures.items()}
                row = replace(
                    row, heatmap=places.get(HEATMAPS, ""), thumbnail=places.get(THUMBNAILS, "")
                )
            rows.append(row)
        if self.gallery is not None:
            self.gallery.keep(pictures)
        return rows

    def _decided(self, examined: InferenceResult, seen: Seen) -> Row:
        film, recognition, lungs = examined.film, examined.recognition, examined.lungs
        first = seen.files.get(film.sha256)
        if first is not None and film.status is Status.SCORED:
            why = Reason("same_bytes", self.shown_name(first))
            film = replace(film, status=Status.DUPLICATE, reason=why)
            return self._row(replace(examined, film=film))
        measured = {
            "frontal": recognition.frontal,
            "domain_distance": recognition.distance,
            "tensor_sha256": film.tensor_sha256,
            "lung_area": lungs.area,
        }
        if film.status is not Status.SCORED or examined.probability is None:
            return self._row(examined, **measured, warnings=film.warnings)
        twin = seen.tensors.get(film.tensor_sha256)
        same = (FilmWarning("same_pixels", self.shown_name(twin)),) if twin else ()
        point = self.card.operating_point
        return self._row(
            examined,
            **measured,
            **examined.inputs,
            probability=examined.probability,
            prediction=point.finding(examined.probability),
            threshold=point.threshold,
            lung_evidence=lungs.evidence,
            warnings=film.warnings
            + recognition.warnings
            + self._age_warnings(film.header.patient_age)
            + lungs.warnings
            + same,
        )

    def _age_warnings(self, years: int | None) -> tuple[FilmWarning, ...]:
        if self.card.was_trained_on_age(years) or self.card.ages is None:
            return ()
        trained = " and ".join(f"{youngest:g} to {oldest:g}" for youngest, oldest in self.card.ages)
        return (FilmWarning("age_not_trained", f"{years} years; trained on ages {trained}"),)

    def _row(self, examined: InferenceResult, **scored: object) -> Row:
        film, header = examined.film, examined.film.header
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
            "runtime": examined.runtime or self.predictor.runtime,
            "instance": self.key.hash("instance", header.instance_uid),
            "study": self.key.hash("study", header.study_uid),
            "sex": header.patient_sex,
            "age_band": age_band(header.patient_age),
            "manufacturer": header.manufacturer,
            "decoding": film.decoding,
        }
        return Row(**values | scored)  # type: ignore[arg-type]
