"""Measure the cost of writing the report page: `python benchmarks/page.py [FILMS…]`.

The reports consist of synthetic rows: 10 % with pneumonia, two films per patient, all labelled.
Each page is written in a separate process. The printed figures exclude the rows and the summary.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from screening.report.labels import outcome
from screening.report.metrics import cases, judged, table_of
from screening.report.operating_points import operating_points
from screening.report.summary import summarise
from screening.results import CLASSES, FilmWarning, Reason, Row, Status

_NIGHTS: Final = (3, 1_000, 100_000)
_WITHOUT: Final = (
    Reason("not_frontal_chest", "0.1"),
    Reason("not_decodable", "truncated"),
)


def night(films: int) -> list[Row]:
    """Create rows; one in fifty was refused or failed."""
    rng = np.random.default_rng(1)
    positive = rng.random(films) < 0.1
    p = np.round(1 / (1 + np.exp(-(4 * positive - 3 + rng.normal(0, 1, films)))), 6)
    return [_row(k, float(p[k]), bool(positive[k])) for k in range(films)]


def _row(k: int, p: float, positive: bool) -> Row:
    film = f"ward_{k % 7}/study_{k // 2}/film_{k}.dcm"
    if k % 50 == 49:
        status = (Status.REFUSED, Status.FAILED)[k % 100 > 50]
        return Row(film=film, status=status, reason=_WITHOUT[status is Status.FAILED])
    called, label = CLASSES[p >= 0.5], CLASSES[positive]
    return Row(
        film=film, status=Status.SCORED, probability=p, prediction=called, threshold=0.5,
        label=label, outcome=outcome(label, called), patient=f"{k // 2:064x}",
        view="PA" if k % 3 else "AP", sex="FM"[k % 2], age_band="40-64", manufacturer="Maker",
        model="net 1", runtime="onnx", warnings=() if k % 20 else (FilmWarning("out_of_domain", "2"),),
    )  # fmt: skip


def measure(films: int) -> None:
    """Write the page of one run, and print its CPU time, memory and size."""
    rows = night(films)
    scored = cases(judged(table_of(rows)))
    lines, points = summarise(table_of(rows)), operating_points(scored, 0.5)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, began = _memory("VmRSS"), time.process_time()
    from screening.report.html.contents import Contents
    from screening.report.html.report_page import write_page

    with tempfile.TemporaryDirectory() as folder:
        page = Contents(rows=rows, lines=lines, points=points, scored=scored)
        write_page(Path(folder), page)
        size = (Path(folder) / "report.html").stat().st_size
    seconds, more = time.process_time() - began, _memory("VmHWM") - before
    print(f"{films:>7,} films: {seconds:5.2f} s of CPU, {more:4.0f} MB more, {size / 1e3:4.0f} kB")


def _memory(kind: str) -> float:
    """Read a memory figure of this process, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) / 1e3


if __name__ == "__main__":
    if len(sys.argv) == 2:
        measure(int(sys.argv[1]))
    else:
        for films in map(int, sys.argv[1:] or _NIGHTS):
            subprocess.run([sys.executable, __file__, str(films)], check=True)
