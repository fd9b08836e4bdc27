"""Messages between this machine and the workers of a cluster."""

from dataclasses import dataclass, replace
from typing import Self

from jobs.engines.dask.config import ClusterConfig, is_url
from jobs.errors import JobFailed
from screening import __version__
from screening.files import Found
from screening.inference.inference import InferenceResult
from screening.inference.pipeline import Screener
from screening.inference.reader import Reader


@dataclass(frozen=True, repr=False)
class Task:
    """Films to screen.

    It has no repr: a worker logs the repr of any task that fails, and file names may contain
    patients' names.

    Attributes:
        folder: where the workers find the films, a path or an fsspec URL.
        recipe: how to read the films; its folder is that of the requesting machine.
        bundle: where the workers find the bundle.
        model_sha256: expected hash of the bundle; a worker fails if its bundle has another one.
        target: which model of the bundle to run.
        refuse: codes of image quality for which a film is refused.
        version: of this package; every machine must have the same.
    """

    folder: str
    recipe: Reader
    bundle: str
    model_sha256: str
    target: str
    heatmaps: bool = False
    thumbnails: bool = False
    refuse: tuple[str, ...] = ()
    version: str = __version__
    films: tuple[Found, ...] = ()

    @classmethod
    def of(cls, screener: Screener, access: ClusterConfig) -> Self:
        """Create a task without films.

        Raises:
            JobFailed: if the bundle is not in a folder on the workers.
        """
        if screener.bundle is None:
            raise JobFailed("a cluster can only use a model from a bundle")
        there = access.place(screener.bundle)
        if is_url(there):
            raise JobFailed(
                f"the workers must have the bundle in a folder, not at {there}: copy it to their "
                f"disks, and add --map-path {screener.bundle}=FOLDER"
            )
        examiner = screener.examiner
        return cls(
            folder=access.place(screener.folder),
            recipe=screener.reader.recipe,
            bundle=there,
            model_sha256=screener.model_sha256,
            target=screener.predictor.target,
            heatmaps=examiner.heatmaps,
            thumbnails=examiner.thumbnails,
            refuse=() if screener.lungs is None else screener.lungs.refused,
        )

    def for_films(self, films: tuple[Found, ...]) -> Self:
        """Return a copy of this task for the given films."""
        return replace(self, films=films)


@dataclass(frozen=True, repr=False)
class TaskResult:
    """Result of a task.

    Attributes:
        host: the host that ran it.
        films: results in the order of the task's films.
    """

    host: str
    films: list[InferenceResult]
