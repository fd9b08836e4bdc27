"""How the pixels of a film are laid out: the Image Pixel Module (PS3.3 C.7.6.3)."""

from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from screening.errors import UnreadableFilm
from screening.pixels.attributes import code, whole

MONOCHROME: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
PALETTE: Final = "PALETTE COLOR"
_ONE_SAMPLE: Final = MONOCHROME | {PALETTE}
_THREE_SAMPLES: Final = frozenset(
    {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "XYB"}
)


@dataclass(frozen=True)
class ImagePixel:
    """The attributes that turn bytes into stored values, checked against each other.

    Attributes:
        planar: colour by plane rather than by pixel (Planar Configuration 1).
        allocated: bits of a cell; `stored` of them, the highest at `high`, are the value.
        signed: two's complement (Pixel Representation 1).
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: bool
    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def subsampled(self) -> bool:
        """Two neighbours share their chroma (YBR_FULL_422, PS3.3 C.7.6.3.1.2)."""
        return self.photometric.endswith("_422")


def read_image_pixel(dataset: Dataset) -> ImagePixel:
    """The layout of a film's pixels.

    Raises:
        UnreadableFilm: naming the attribute that is missing, contradictory or not supported.
    """
    allocated = whole(dataset, "BitsAllocated")
    stored = whole(dataset, "BitsStored", allocated)
    if allocated not in (1, 8, 16, 32):
        raise UnreadableFilm("unsupported", f"BitsAllocated {allocated}")
    if not 1 <= stored <= allocated:
        raise UnreadableFilm(
            "not_decodable", f"BitsStored {stored} does not fit BitsAllocated {allocated}"
        )
    samples = whole(dataset, "SamplesPerPixel", 1)
    photometric = _photometric(dataset, samples)
    high = whole(dataset, "HighBit", stored - 1)
    return ImagePixel(
        rows=whole(dataset, "Rows"),
        columns=whole(dataset, "Columns"),
        frames=max(1, whole(dataset, "NumberOfFrames", 1)),
        samples=samples,
        photometric=photometric,
        planar=samples > 1 and whole(dataset, "PlanarConfiguration", 0) == 1,
        allocated=allocated,
        stored=stored,
        # A high bit without room for the value is a slip of the pen (PS3.5 8.1.1).
        high=high if stored - 1 <= high < allocated else stored - 1,
        signed=whole(dataset, "PixelRepresentation", 0) == 1,
    )


def _photometric(dataset: Dataset, samples: int) -> str:
    photometric = code(dataset, "PhotometricInterpretation")
    if not photometric:
        raise UnreadableFilm("not_decodable", "PhotometricInterpretation is missing")
    if samples not in (1, 3):
        raise UnreadableFilm("unsupported", f"SamplesPerPixel {samples}")
    if photometric not in _ONE_SAMPLE | _THREE_SAMPLES:
        raise UnreadableFilm("unsupported", "an unknown PhotometricInterpretation")
    if (samples == 1) != (photometric in _ONE_SAMPLE):
        raise UnreadableFilm("not_decodable", f"{photometric} with SamplesPerPixel {samples}")
    return photometric
