"""What a model says of films that were read: all that needs no other film of their job."""

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
from screening.results import INPUT_COLUMNS, PNEUMONIA, Status, reason


@dataclass(frozen=True, eq=False)
class InferenceResult:
    """One film with its answer, plain and small: it may have been made on another machine.

    Attributes:
        film: without its tensor. Its status is the last word, unless it proves to be a duplicate.
        runtime: what the model was run with; empty if no model was there.
        probability: calibrated P(pneumonia); None unless the film is scored.
        recognition: what was recognised; nothing without a gate.
        lungs: what the lungs say; nothing without a lung network, and of films that the gate refuses.
        inputs: what the model was shown looks like, by column; of scored films.
        pictures: those that were asked for, by kind.
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
    """What the model says about one film; without a gate nothing is recognised.

    Attributes:
        activation: for each cell the log odds beyond those at which a film is called, shape
            (r, c); None if the model gives no map, or none is wanted.
        mask: where the lungs are, shape (128, 128); None if they were not looked for.
    """

    probability: float
    recognition: ImageGateResult
    cost: Cost
    activation: npt.NDArray[np.float32] | None = None
    lungs: LungFindings = field(default_factory=LungFindings)
    mask: Mask | None = None

    @property
    def is_valid(self) -> bool:
        """True if the probability is one."""
        return 0 <= self.probability <= 1


@dataclass(frozen=True, eq=False)
class FilmClassifier:
    """Puts films to a model. Has no memory: any machine that has the model may do it.

    Attributes:
        heatmaps: whether each scored film is to have a heat map.
        thumbnails: whether it is to have a thumbnail.
        lungs: finds the lungs of films; None if the bundle has no lung network.
    """

    card: Card
    predictor: Predictor
    heatmaps: bool = False
    thumbnails: bool = False
    lungs: LungReader | None = None

    def read(
        self, reader: FilmReader, films: Sequence[Found], known: Collection[str] = frozenset()
    ) -> list[InferenceResult]:
        """Films with their answers, in the same order: read, and scored as one batch.

        Args:
            known: see :meth:`examine`.
        """
        return self.examine([reader.read(found) for found in films], known)

    def examine(
        self, films: Sequence[ReadFilm], known: Collection[str] = frozenset()
    ) -> list[InferenceResult]:
        """Films that were read with their answers, in the same order; scored as one batch.

        Args:
            known: hashes of files that were scored before. They, and all copies of a film but the
                first, are not put to the model.
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
        """The same answers with the lungs of the films that have a probability and pass the gate.

        Args:
            logits: evidence of each cell as the network gives it, shape (n, r, c).
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
            why = reason("no_score")
            failed = replace(plain, status=Status.FAILED, reason=why)
            return InferenceResult(failed, runtime, recognition=recognition)
        if refusal := recognition.refusal or answer.lungs.refusal:
            refused = replace(plain, status=Status.REFUSED, reason=refusal)
            return InferenceResult(refused, runtime, recognition=recognition, lungs=answer.lungs)
        grey = self.card.preprocessing.grey(film.tensor)
        # A copy will be a duplicate, and that is shown once.
        pictures = self._pictures(plain, grey, answer) if is_first else {}
        inputs = _inputs(grey)
        plain = replace(plain, cost=plain.cost + Cost(answering=watch.lap()))
        return InferenceResult(
            plain, runtime, answer.probability, recognition, answer.lungs, inputs, pictures
        )

    def _pictures(self, film: ReadFilm, grey: Grey, answer: _Answer) -> dict[str, bytes]:
        """What is asked for of one film, by kind."""
        # Where the pixels say who it is, they are not shown once more.
        if film.header.burned_in_annotation == "YES":
            return {}
        shape, pictures = (film.rows, film.columns), {}
        if self.heatmaps and answer.activation is not None:
            said = None if answer.mask is None else LungOverlay(answer.mask, answer.lungs.evidence)
            pictures[HEATMAPS] = heatmap_png(grey, answer.activation, shape, said)
        if self.thumbnails:
            pictures[THUMBNAILS] = thumbnail_jpeg(grey, shape, answer.mask)
        return pictures


def _inputs(grey: Grey) -> dict[str, float]:
    measured = input_statistics(grey[np.newaxis])
    return {column: round(float(measured[name][0]), 6) for name, column in INPUT_COLUMNS.items()}
