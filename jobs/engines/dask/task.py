"""What the workers of a cluster are asked, and what they answer."""

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
    """Films to be examined.

    Has no representation: a worker writes that of whatever it fails at into its log, and the names
    of films may be those of people.

    Attributes:
        folder: where the films are for the workers, a path or an fsspec URL.
        recipe: how to read them; its folder is that of the machine that asks.
        bundle: where the workers find it.
        model_sha256: its hash. Another bundle is an error, not another answer.
        target: the model of the bundle that is run.
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
        """An order for no film yet.

        Raises:
            JobFailed: if the bundle would not be in a folder of the workers.
        """
        if screener.bundle is None:
            raise JobFailed("a model that is in no bundle cannot be loaded elsewhere")
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
            target=screener.predictor.runtime.partition("/")[0],
            heatmaps=examiner.heatmaps,
            thumbnails=examiner.thumbnails,
            refuse=() if screener.lungs is None else screener.lungs.refused,
        )

    def for_films(self, films: tuple[Found, ...]) -> Self:
        """The same order for these films."""
        return replace(self, films=films)


@dataclass(frozen=True, repr=False)
class TaskResult:
    """What came of an order.

    Attributes:
        host: that has carried it out.
        films: in the order of those asked for.
    """

    host: str
    films: list[InferenceResult]
