"""A small report with everything that a report can hold."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from screening.audit import Event
from screening.inference.heatmap import strip_rows
from screening.inference.report_images import ReportImages, place_of
from screening.privacy import PatientKey
from screening.report.html import components
from screening.report.labels import Labels
from screening.report.writer import Night, write_report
from screening.results import Reason, Row, Status

KEY = PatientKey(b"k" * 32)
AT = "2026-01-01T00:00:00.000+00:00"
EVENTS = [
    Event(AT, "submitted", "job-1", {"user": "somebody", "host": "somewhere"}),
    Event(AT, "started", "job-1", {"model": "brightness 1", "threshold": "0.5"}, "f" * 64),
]


def scored(film: str, sha256: str, probability: float) -> Row:
    prediction = "PNEUMONIA" if probability >= 0.5 else "NORMAL"
    return Row(
        film=film,
        sha256=sha256,
        status=Status.SCORED,
        probability=probability,
        prediction=prediction,
        threshold=0.5,
        model="brightness 1",
        model_sha256="f" * 64,
        screened_at=AT,
        seconds=0.25,
        runtime="fake/brightness 1",
        tensor_sha256=sha256[::-1],
    )


ROWS = [
    replace(scored("a.png", "ab" * 32, 0.75), heatmap=place_of("ab" * 32), view="PA"),
    scored('=b,"1".png', "cd" * 32, 0.25),
    Row(
        film="c.png",
        sha256="ab" * 32,
        status=Status.DUPLICATE,
        reason=Reason("same_bytes", "a.png"),
        screened_at=AT,
    ),
    Row(film="d.png", status=Status.FAILED, reason=Reason("empty"), screened_at=AT),
]


def picture() -> bytes:
    """A PNG of a few bytes: of eight rows, and the scale of colours below them."""
    buffer = BytesIO()
    Image.fromarray(np.zeros((8 + strip_rows(lungs=False), 8), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_small_report(place: Path, rows: list[Row] = ROWS) -> Path:
    """Write a report with labels, a heat map, figures, a page and an audit below `place`.

    Its figures are a few dots in size, and the labelled film failed, so that there are no tables of
    performance: all of it is small.
    """
    labels = place / "labels.csv"
    labels.write_text("film,label\nd.png,1\nlost.png,0\n", encoding="utf-8")
    gallery = ReportImages(place / "aside")
    gallery.keep({place_of("ab" * 32): picture()})
    night = Night(rows=rows, events=EVENTS, key=KEY, labels=Labels.read(labels), gallery=gallery)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(components._STYLE, "savefig.dpi", 10)
        write_report(place / "report", night)
    return place / "report"


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of every file by its path in the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
