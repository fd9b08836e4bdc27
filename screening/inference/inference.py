"""Run the model on films that were read, without reference to other films of the job."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from screening.files import Found
from screening.imaging.film import Grey
from screening.inference.costs import Cost, Stopwatch
from screening.inference.heatmap import LungOverlay, evidence, heatmap_png, thumbnail_jpeg
from screening.inference.reader import FilmReader, ReadFilm
from screening.inference.report_images import HEATMAPS, THUMBNAILS
from screening.model.card import Card
from screening.model.drift_baseline import input_statistics
from screening.model.image_gate import ImageGateResult
from screening.model.lung_reading import LungFindings, LungReader
from screening.model.lungs import Mask
from screening.model.predictor import Predictor
from screening.model.preprocess import Tensor
from screening.results import INPUT_COLUMNS, PNEUMONIA, Reason, Status


@dataclass(frozen=True, eq=False)
class InferenceResult:
    """One film with its prediction, plain and small: it may come from another machine.

    Attributes:
        film: the film without its tensor. Its status is final unless it turns out a duplicate.
        runtime: the runtime that ran the model; empty if no model was available.
        probability: calibrated P(pneumonia); None unless the film is scored.
        recognition: result of the image gate; empty without a gate.
        lungs: findings about the lungs; empty without a lung network and for films that the gate
            refuses.
        inputs: statistics of the model's input, by column; only for scored films.
        pictures: the requested pictures, by kind.
    """

    film: ReadFilm
    runtime: str = ""
    probability: float | None = None
    recognition: ImageGateResult = field(default_factory=ImageGateResult)
    lungs: LungFindings = field(default_factory=LungFindings)
    inputs: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Answer:
    """The model's output for one film; `recognition` is empty without a gate.

    Attributes:
        activation: for each cell the log odds above those of the threshold, shape (r, c); None if
            the model gives no map, or none is wanted.
        mask: True on the lungs, shape (128, 128); None if the lungs were not searched for.
    """

    probability: float
    recognition: ImageGateResult
    cost: Cost
    activation: npt.NDArray[np.float32] | None = None
    lungs: LungFindings = field(default_factory=LungFindings)
    mask: Mask | None = None

    @property
    def is_valid(self) -> bool:
        """True if the probability lies in 0..1 (NaN does not)."""
        return 0 <= self.probability <= 1


@dataclass(frozen=True, eq=False)
class FilmClassifier:
    """Runs a model on films. It is stateless, so any machine that has the model can run it.

    Attributes:
        heatmaps: whether to make a heat map of each scored film.
        thumbnails: whether to make a thumbnail of each scored film.
        lungs: finds the lungs on films; None if the bundle has no lung network.
    """

    card: Card
    predictor: Predictor
    heatmaps: bool = False
    thumbnails: bool = False
    lungs: LungReader | None = None

    def read(
        self, reader: FilmReader, films: Sequence[Found], known: Collection[str] = frozenset()
    ) -> list[InferenceResult]:
        """Read films and score them as one batch; return results in the same order.

        Args:
            known: see :meth:`examine`.
        """
        return self.examine([reader.read(found) for found in films], known)

    def examine(
        self, films: Sequence[ReadFilm], known: Collection[str] = frozenset()
    ) -> list[InferenceResult]:
        """Score films that were read as one batch; return results in the same order.

        Args:
            known: hashes of files that were scored before. The model does not run on these, nor
                on any copy of a film except the first.
        """
        first: dict[str, ReadFilm] = {}
        for film in films:
            if film.tensor is not None and film.sha256 not in known:
                first.setdefault(film.sha256, film)
        started, watch = time.perf_counter(), Stopwatch()
        answers = self._answers([film.tensor for film in first.values()], watch)
        share = (time.perf_counter() - started) / max(1, len(first))
        of_files = dict(zip(first, answers, strict=True))
        return [
            self._examined(
                film, of_files.get(film.sha256), share, is_first=film is first.get(film.sha256)
            )
            for film in films
        ]

    def _answers(self, tensors: Sequence[Tensor | None], watch: Stopwatch) -> list[_Answer]:
        if not tensors:
            return []
        batch = np.stack([tensor for tensor in tensors if tensor is not None])
        prediction = self.predictor.predict(batch)
        inference = watch.lap() / len(batch)
        probabilities = self.card.calibration.probabilities(prediction.scores)
        gate = self.card.gate
        recognitions = (
            gate.check_film(prediction.embeddings) if gate else [ImageGateResult()] * len(batch)
        )
        logits = None if prediction.maps is None else evidence(prediction.maps)
        activations = (
            [None] * len(batch)
            if logits is None or not self.heatmaps
            else list(self.card.beyond_threshold(logits))
        )
        triples = zip(probabilities, recognitions, activations, strict=True)
        cost = Cost(inference=inference, answering=watch.lap() / len(batch))
        answers = [_Answer(float(p), recognition, cost, cells) for p, recognition, cells in triples]
        return self._with_lungs(answers, batch, logits, watch)

    def _with_lungs(
        self,
        answers: list[_Answer],
        batch: npt.NDArray[np.float32],
        logits: npt.NDArray[np.float32] | None,
        watch: Stopwatch,
    ) -> list[_Answer]:
        """Add the lungs to the answers with a valid probability that pass the gate.

        Args:
            logits: evidence of each cell as the network outputs it, shape (n, r, c).
        """
        asked = [
            index
            for index, answer in enumerate(answers)
            if answer.is_valid and not answer.recognition.refusal
        ]
        if self.lungs is None or not asked:
            return answers
        masks = self.lungs.masks([self.card.preprocessing.grey(batch[index]) for index in asked])
        found = {}
        for index, mask in zip(asked, masks, strict=True):
            cells = None if logits is None else logits[index]
            finding = self.card.operating_point.finding(answers[index].probability)
            lungs = self.lungs.findings(mask, cells, called=finding == PNEUMONIA)
            found[index] = replace(answers[index], lungs=lungs, mask=mask)
        cost = Cost(lungs=watch.lap() / len(asked))
        return [
            replace(found[index], cost=answer.cost + cost) if index in found else answer
            for index, answer in enumerate(answers)
        ]

    def _examined(
        self, film: ReadFilm, answer: _Answer | None, share: float, *, is_first: bool
    ) -> InferenceResult:
        runtime, plain = self.predictor.runtime, replace(film, tensor=None)
        if film.tensor is None or answer is None:
            return InferenceResult(plain, runtime)
        watch = Stopwatch()
        if is_first:
            plain = replace(plain, seconds=film.seconds + share, cost=film.cost + answer.cost)
        recognition = answer.recognition
        if not answer.is_valid:
            failed = replace(plain, status=Status.FAILED, reason=Reason("no_score"))
            return InferenceResult(failed, runtime, recognition=recognition)
        if refusal := recognition.refusal or answer.lungs.refusal:
            refused = replace(plain, status=Status.REFUSED, reason=refusal)
            return InferenceResult(refused, runtime, recognition=recognition, lungs=answer.lungs)
        grey = self.card.preprocessing.grey(film.tensor)
        # A copy becomes a duplicate; its film already has the pictures.
        pictures = self._pictures(plain, grey, answer) if is_first else {}
        inputs = _inputs(grey)
        plain = replace(plain, cost=plain.cost + Cost(answering=watch.lap()))
        return InferenceResult(
            plain, runtime, answer.probability, recognition, answer.lungs, inputs, pictures
        )

    def _pictures(self, film: ReadFilm, grey: Grey, answer: _Answer) -> dict[str, bytes]:
        """Make the requested pictures of one film, by kind."""
        # Burned-in annotations may identify the patient: do not copy them into the report.
        if film.header.burned_in_annotation == "YES":
            return {}
        shape, pictures = (film.rows, film.columns), {}
        if self.heatmaps and answer.activation is not None:
            lungs = None if answer.mask is None else LungOverlay(answer.mask, answer.lungs.evidence)
            pictures[HEATMAPS] = heatmap_png(grey, answer.activation, shape, lungs)
        if self.thumbnails:
            pictures[THUMBNAILS] = thumbnail_jpeg(grey, shape, answer.mask)
        return pictures


def _inputs(grey: Grey) -> dict[str, float]:
    measured = input_statistics(grey[np.newaxis])
    return {column: round(float(measured[name][0]), 6) for name, column in INPUT_COLUMNS.items()}
