"""Regenerate the fixtures: run ``python -m golden.make_golden`` in ``tests/support``.

Needs DCMTK (3.6.7 made the committed files), GDCM (3.0.21), OpenJPEG (2.5.0), OpenJPH (0.9.0),
ImageMagick (6.9.11) and libtiff (4.5.0) with their command line tools. The tests need none of
them. No committed file and nothing in this script comes from the program under test.
"""

import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from golden.case import STEP, Case
from golden.films import dicom_of, save
from golden.palettes import CASES as PALETTES
from golden.palettes import SMALL as SMALL_PALETTES
from golden.ranges import CASES as RANGES
from golden.raster import Raster
from golden.rasters import RASTERS
from golden.samples import CASES as SAMPLES
from golden.streams import PHANTOMS, STREAMS, Stream
from golden.windows import CASES as WINDOWS
from golden.windows import SMALL as SMALL_TABLES

SMALL = SMALL_TABLES | SMALL_PALETTES
ORDERS = {"implicit": "+ti", "bigendian": "+tb"}
CASES = (*WINDOWS, *RANGES, *SAMPLES, *PALETTES)
HERE = Path(__file__).parent
Samples = npt.NDArray[np.generic]


def main() -> None:
    """Encode every stream, then store the decoded contents of the lossy ones."""
    decoded: dict[str, Samples] = {}
    for stream in STREAMS:
        with TemporaryDirectory() as place:
            samples = make(stream, Path(place))
        if stream.lossy:
            decoded[stream.file] = difference(samples, PHANTOMS[stream.phantom])
        elif not np.array_equal(samples, PHANTOMS[stream.phantom]):
            sys.exit(f"{stream.file}: {stream.decoder} does not give the phantom")
    for name, film in SMALL.items():
        for suffix, option in ORDERS.items():
            with TemporaryDirectory() as place:
                (Path(place) / "in.dcm").write_bytes(film)
                run(f"dcmconv {option} in.dcm out.dcm", Path(place))
                shutil.copy(Path(place) / "out.dcm", HERE / f"{name}-{suffix}.dcm")
    for raster in RASTERS:
        with TemporaryDirectory() as place:
            make_raster(raster, Path(place))
            if raster.decoder:
                run(raster.decoder, Path(place))
                samples = read_raw(Path(place), raster.source)
                decoded[raster.file] = difference(samples, raster.source)
    np.savez_compressed(HERE / "decoded.npz", allow_pickle=False, **decoded)
    shown = {case.proves: witness(case) for case in CASES if case.witness is not None}
    np.savez_compressed(HERE / "witness.npz", allow_pickle=False, **shown)


def difference(samples: Samples, encoded: Samples) -> npt.NDArray[np.int16]:
    """Return the error that a lossy codec adds to the samples; it is small and compresses well."""
    return (samples.astype(np.int64) - encoded.astype(np.int64)).astype(np.int16)


def make(stream: Stream, place: Path) -> Samples:
    """Encode one phantom, keep the file, and return the samples decoded by the second program."""
    film = PHANTOMS[stream.phantom]
    dataset = dicom_of(stream.phantom)
    save(dataset, place / "in.dcm")
    write_pnm(film, place)
    for step in stream.steps:
        run(step, place)
    for code in (*place.glob("out.j2k"), *place.glob("out.j2c")):
        as_fragment(dataset, code.read_bytes(), stream)
        save(dataset, place / "out.dcm")
    shutil.copy(place / "out.dcm", HERE / f"{stream.file}.dcm")
    run(stream.decoder, place)
    return read_raw(place, film)


def run(command: str, place: Path) -> None:
    """Run a command line in `place`."""
    done = subprocess.run(command.split(), cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: {done.stdout}{done.stderr}")


def write_pnm(film: Samples, place: Path) -> None:
    """Write ``in.pnm``, and copies with the suffixes that programs require (PNM is big endian)."""
    if film.dtype.kind == "i":
        return
    top = 2 ** int(film.max()).bit_length() - 1
    kind = b"P6" if film.ndim == 3 else b"P5"
    head = b"%b\n%d %d\n%d\n" % (kind, film.shape[1], film.shape[0], top)
    for suffix in ("pnm", "ppm" if film.ndim == 3 else "pgm"):
        (place / f"in.{suffix}").write_bytes(
            head + film.astype(film.dtype.newbyteorder(">")).tobytes()
        )


def as_fragment(dataset: FileDataset, code: bytes, stream: Stream) -> None:
    """Put a code stream into the data set as its only fragment."""
    dataset.file_meta.TransferSyntaxUID = UID(stream.syntax)
    dataset.PixelData = encapsulate([code])
    dataset["PixelData"].VR = "OB"
    if dataset.SamplesPerPixel == 3:
        lossless = stream.levels == 0
        dataset.PhotometricInterpretation = "YBR_RCT" if lossless else "YBR_ICT"


def read_raw(place: Path, film: Samples) -> Samples:
    """Read the output of the second program."""
    raw = place / "raw.dcm"
    if raw.exists():
        return np.asarray(dcmread(raw).pixel_array)
    cmyk = place / "raw.cmyk"
    if cmyk.exists():
        return np.fromfile(cmyk, np.uint8).reshape(film.shape)
    image = next(iter(place.glob("raw.p?m")))
    with Image.open(image) as opened:
        if film.ndim == 3 or film.dtype == np.uint8:
            return np.asarray(opened)
    content = image.read_bytes()
    return np.frombuffer(content[-2 * film.size :], ">u2").reshape(film.shape).astype(film.dtype)


def make_raster(raster: Raster, place: Path) -> None:
    """Encode one PNG, JPEG, TIFF or BMP file."""
    (place / "in.raw").write_bytes(
        raster.source.astype(raster.source.dtype.newbyteorder(">")).tobytes()
    )
    if raster.source.shape[-1] != 4:
        write_pnm(raster.source, place)
    for step in raster.steps:
        words = step.split()
        if words[0] == "transparent":
            insert_trns(place / "out.png", bytes.fromhex(words[1]))
        elif words[0] == "top-down":
            turn_bmp(place / "out.bmp")
        elif words[0] == "imagecodecs":
            # ImageMagick cannot write YCCK: imagecodecs encodes, ImageMagick decodes.
            inverted = np.ascontiguousarray(255 - raster.source)
            code = imagecodecs.jpeg8_encode(inverted, 98, colorspace="CMYK", outcolorspace="YCCK")
            (place / "out.jpg").write_bytes(code)
        else:
            run(step, place)
    (made,) = place.glob("out.*")
    shutil.copy(made, HERE / raster.file)


def insert_trns(path: Path, samples: bytes) -> None:
    """Insert a tRNS chunk (PNG 11.3.2.1) before the first IDAT."""
    png = path.read_bytes()
    at = png.index(b"IDAT") - 4
    body = b"tRNS" + samples
    chunk = struct.pack(">I", len(samples)) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(png[:at] + chunk + png[at:])


def turn_bmp(path: Path) -> None:
    """Store the rows top-down: a negative height in BITMAPINFOHEADER."""
    bmp = path.read_bytes()
    (start,) = struct.unpack_from("<I", bmp, 10)
    (rows,) = struct.unpack_from("<i", bmp, 22)
    lines = np.frombuffer(bmp[start:], np.uint8).reshape(rows, -1)[::-1]
    head = bmp[:22] + struct.pack("<i", -rows) + bmp[26:start]
    path.write_bytes(head + lines.tobytes())


def witness(case: Case) -> npt.NDArray[np.uint16]:
    """Return the output of dcm2pnm: every thirteenth pixel, in 65536 levels."""
    with TemporaryDirectory() as name:
        place = Path(name)
        (place / "film.dcm").write_bytes(case.film())
        run(f"dcm2pnm {case.witness} +opn 16 film.dcm out.pgm", place)
        lines = (place / "out.pgm").read_text(encoding="ascii").splitlines()
    words = " ".join(line for line in lines if not line.startswith("#")).split()
    return np.array(words[4:], np.uint16)[::STEP]


if __name__ == "__main__":
    main()
