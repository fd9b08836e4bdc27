"""Measure the time and memory of writing and verifying a report, by the number of rows.

The rows are synthetic.

    python benchmarks/reports.py --rows 1000 10000 100000

Each report is written in a separate process. Memory is the peak of the process, including the rows.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

_SUBSETS: Final = {
    "view": ("PA", "AP"),
    "sex": ("F", "M"),
    "age_band": ("0-4", "5-17", "18-39", "40-64", "65-79", "80+"),
    "manufacturer": ("ACME", "Example", "Other"),
}
_FOLDERS: Final = 4
_FAILED: Final = 0.01


def main() -> None:
    """Write reports of several sizes and print the cost of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(_measured(arguments.one)))
        return
    print(
        f"{'rows':>8} {'seconds':>8} {'CPU':>8} {'MiB':>6} {'page MB':>8} {'report MB':>9} {'verify':>7}"
    )
    for rows in arguments.rows:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(rows)], stdout=subprocess.PIPE, check=True
        )
        cost = json.loads(done.stdout)
        print(
            f"{rows:8} {cost['seconds']:8.1f} {cost['cpu']:8.1f} {cost['mib']:6.0f} "
            f"{cost['page'] / 1e6:8.2f} {cost['report'] / 1e6:9.1f} {cost['verify']:7.1f}"
        )


def _measured(number: int) -> dict[str, Any]:
    from screening.audit import Event
    from screening.files import now
    from screening.privacy import PatientKey
    from screening.report.verification import verify
    from screening.report.writer import Night, write_report

    rows = list(_rows(number))
    events = [Event(now(), "submitted", "job-1", {"user": "somebody", "host": "somewhere"})]
    night = Night(rows=rows, events=events, key=PatientKey(b"k" * 32), prevalence=0.05)
    with tempfile.TemporaryDirectory() as place:
        began, cpu = time.perf_counter(), time.process_time()
        write_report(Path(place) / "report", night)
        cost = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began = time.perf_counter()
        if verify(Path(place) / "report"):
            raise SystemExit("the report is not intact")
        cost["verify"] = time.perf_counter() - began
        sizes = {path.name: path.stat().st_size for path in (Path(place) / "report").rglob("*.*")}
    return {**cost, "mib": most, "page": sizes.get("report.html", 0), "report": sum(sizes.values())}


def _rows(number: int) -> Iterator[Any]:
    """Create labelled rows: one to three films per patient, a good model, a few failures."""
    from screening.report.labels import outcome
    from screening.results import NORMAL, PNEUMONIA, Reason, Row, Status

    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(number), rng.integers(1, 4, number))[:number]
    ill = rng.random(number)[patients] < 0.1
    log_odds = rng.normal(np.where(ill, 1.5, -2.5), 1.5)
    probabilities = np.round(1 / (1 + np.exp(-log_odds)), 6)
    for n in range(number):
        label = PNEUMONIA if ill[n] else NORMAL
        about = {
            "film": f"folder-{n % _FOLDERS}/{n:07}.dcm",
            "sha256": f"{n:064x}",
            "label": label,
            "patient": f"{patients[n]:016x}",
            "study": f"{patients[n]:016x}",
            "instance": f"{n:016x}",
            "model": "efficientnet-lite0 01234567",
            "model_sha256": "ab" * 32,
            "modality": "DX",
            "screened_at": "2026-01-01T00:00:00.000+00:00",
            "seconds": 0.05,
            **{
                name: values[int(patients[n]) * 7 % len(values)]
                for name, values in _SUBSETS.items()
            },
        }
        if rng.random() < _FAILED:
            yield Row(**about, status=Status.FAILED, reason=Reason("not_decodable"))
            continue
        prediction = PNEUMONIA if probabilities[n] >= 0.5 else NORMAL
        yield Row(
            **about,
            status=Status.SCORED,
            probability=float(probabilities[n]),
            prediction=prediction,
            outcome=outcome(label, prediction),
            threshold=0.5,
            runtime="onnx/onnxruntime 1.32.0",
            tensor_sha256=f"{n:064x}",
            frontal=0.99,
            domain_distance=0.6,
        )


if __name__ == "__main__":
    main()
