"""How a folder is to be screened: frozen with the job."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from exports.targets import FLOAT32, ONNX
from screening.limits import Limits
from screening.report.labels import Policy

_PATHS: Final = ("key", "labels", "quarantine")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What does not change from the first film of a job to its last.

    Attributes:
        key: file with the key that hides patient identifiers, absolute.
        labels: labels file, absolute, or None.
        labels_policy: what becomes of labels that cannot be used: ``strict``, ``error`` or ``list``.
        prevalence: share of films with pneumonia where predictive values are to hold, or None.
        runtime: what runs the model: ``onnx``, ``litert``, or ``auto`` for the quicker one.
        precision: in which most of it is computed: ``float32`` or ``int8``.
        exact: decode all of every film.
        batch: films scored together.
        limits: what one film may cost.
        max_failure_rate: share of failed films above which the job is given up.
        hash_names: name films by keyed hashes in the report.
        heatmaps: show on each scored film where the model sees pneumonia.
        thumbnails: keep a small picture of each scored film.
        refuse: codes of image quality for which a film is refused; for the others it gets a warning.
        settle: seconds for which nothing in the folder must have changed before it is listed.
        new_only: leave out what a finished job of the same folder and bundle has scored.
        quarantine: folder that failed and refused films are copied to, absolute, or None.
        retries: how often the job is tried again by itself when something outside it fails.
    """

    key: Path
    labels: Path | None = None
    labels_policy: str = Policy.ERROR.value
    prevalence: float | None = None
    runtime: str = ONNX
    precision: str = FLOAT32
    exact: bool = False
    batch: int = 8
    limits: Limits = field(default_factory=Limits)
    max_failure_rate: float = 0.2
    hash_names: bool = False
    heatmaps: bool = False
    thumbnails: bool = False
    refuse: tuple[str, ...] = ()
    settle: float = 5.0
    new_only: bool = False
    quarantine: Path | None = None
    retries: int = 3

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        values = asdict(self)
        for name in _PATHS:
            values[name] = None if values[name] is None else str(values[name])
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of :meth:`as_dict`; what an older version did not know has its default."""
        paths = {name: Path(values[name]) for name in _PATHS if values.get(name) is not None}
        lists = {"refuse": tuple(values.get("refuse", ()))}
        return cls(**values | paths | lists | {"limits": Limits(**values["limits"])})
