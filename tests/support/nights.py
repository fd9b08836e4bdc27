"""Sample nights for tests of pages."""

from dataclasses import replace

import numpy as np

from screening.inference.heatmap import heatmap_png, thumbnail_jpeg
from screening.inference.report_images import HEATMAPS, THUMBNAILS, place_of
from screening.report.drift.drift_csv import REFERENCE, TONIGHT, Drift
from screening.report.html.contents import Contents
from screening.report.metrics import cases, judged, table_of
from screening.report.operating_points import operating_points
from screening.report.summary import summarise
from screening.results import Reason, Row, Status

BREACH = Drift(
    measure="positive_rate", against=REFERENCE, window=TONIGHT, value=0.3, expected=0.1, low=0.05,
    high=0.2, n=400, breach=True,
    sentence="The share of films flagged as pneumonia is 0.300, at most 0.200 was expected.",
)  # fmt: skip


def scored(film, p, label="", **more):
    called = "PNEUMONIA" if p >= 0.5 else "NORMAL"
    outcome = label and ("T" if label == called else "F") + called[0]
    return Row(
        film=film, status=Status.SCORED, probability=p, prediction=called, threshold=0.5,
        label=label, outcome=outcome, model="net 1", model_sha256="ab" * 32, runtime="onnx", **more,
    )  # fmt: skip


def unread(film, status, reason):
    return Row(film=film, status=status, reason=reason)


NIGHT = [
    *(
        scored(
            f"ward/{k:02}.png",
            k / 40,
            "PNEUMONIA" if k % 3 else "NORMAL",
            patient=f"{k:064}",
            sha256=f"{k + 1:064}"[::-1],
        )
        for k in range(40)
    ),
    unread("notes.txt", Status.REFUSED, Reason("not_image")),
    unread("cut.png", Status.FAILED, Reason("not_decodable", "truncated")),
    unread("copy.png", Status.DUPLICATE, Reason("same_bytes", "a.png")),
]


def contents_of(rows, **more):
    own = [row for row in rows if row.outcome]
    judged_films = cases(judged(table_of(own))) if own else None
    return Contents(
        rows=rows,
        lines=summarise(table_of(rows), [] if own else None),
        points=operating_points(judged_films, 0.5, 0.1) if own else [],
        scored=judged_films,
        **more,
    )


def pictured(folder, rows):
    """Write pictures into the folder and return the rows with their paths."""
    grey = np.random.default_rng(1).random((32, 32)).astype(np.float32)
    for kind, picture in (
        (HEATMAPS, heatmap_png(grey, 20 * grey)),
        (THUMBNAILS, thumbnail_jpeg(grey)),
    ):
        (folder / kind).mkdir()
        for row in rows:
            (folder / place_of(row.sha256, kind)).write_bytes(picture)
    return [
        replace(
            row, heatmap=place_of(row.sha256, HEATMAPS), thumbnail=place_of(row.sha256, THUMBNAILS)
        )
        for row in rows
    ]
