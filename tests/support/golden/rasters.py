"""Every PNG, JPEG, TIFF and BMP film of the table."""

from typing import Final

from golden.jpegs import JPEG
from golden.pngs import PNG, TRANSPARENT
from golden.raster import Raster
from golden.tiffs import BMP, TIFF

RASTERS: Final[tuple[Raster, ...]] = (*PNG, *TRANSPARENT, *JPEG, *TIFF, *BMP)
