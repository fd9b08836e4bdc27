"""The program in a bundle: screens a folder with Python, NumPy and one small runtime."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from exports.bundle import Bundle
from exports.runtimes.load import is_installed, load
from exports.selftest import check_selftest, targets_of
from exports.targets import LITERT, ONNX
from screening.audit import Event, film_event, write_audit
from screening.clock import now
from screening.errors import ReportError, ScreeningError
from screening.films import Found, discover
from screening.gallery import Gallery
from screening.isolation import IsolatedReader
from screening.limits import Limits
from screening.pipeline import Screener, Seen
from screening.privacy import PatientKey
from screening.row import PREDICTIONS, Row, Status, write_rows
from screening.whole import whole

_BATCH = 8


def main() -> None:
    """``python screen.pyz selftest`` and ``python screen.pyz FOLDER --out REPORT``."""
    arguments = _parser().parse_args()
    try:
        bundle = Bundle.open(arguments.bundle)
        if arguments.what == "selftest":
            _selftest(bundle)
        else:
            sys.exit(_screen(bundle, arguments))
    except (ScreeningError, OSError) as error:
        sys.exit(f"Error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="screen.pyz",
        description="Read chest films for pneumonia. Research software: not a medical device.",
    )
    parser.add_argument("what", help="a folder of films, or the word selftest")
    parser.add_argument("--out", type=Path, help="report folder (default: ./report)")
    # The program lies in its bundle.
    here = Path(sys.argv[0]).resolve().parent
    parser.add_argument("--bundle", type=Path, default=here, help="default: where this program is")
    about = "show on each scored film where the model sees pneumonia"
    parser.add_argument("--heatmaps", action="store_true", help=about)
    parser.add_argument("--runtime", choices=(LITERT, ONNX), help="default: the one installed")
    for name, default, what in (
        ("pixels", Limits.pixels, "larger films are not decoded"),
        ("seconds", Limits.seconds, "until a decoder is stopped"),
        ("memory", Limits.memory, "bytes that a decoder may use"),
    ):
        about = f"{what} (default: {default})"
        parser.add_argument(f"--max-{name}", type=type(default), default=default, help=about)
    key = Path.home() / ".local" / "state" / "screening" / "patient.key"
    parser.add_argument("--key", type=Path, default=key, help=f"default: {key}")
    return parser


def _selftest(bundle: Bundle) -> None:
    print(f"{bundle.card.model}: every file has its hash")
    targets = targets_of(bundle.path)
    for target in targets:
        if is_installed(target.runtime):
            largest = check_selftest(bundle, target)
            print(f"{target.name}: right, largest difference {largest:.2g}")
        else:
            print(f"{target.name}: not tried, {target.runtime} is not installed")
    if not any(is_installed(target.runtime) for target in targets):
        raise ReportError("no runtime is installed; run: pip install -r requirements.txt")


def _runtime(bundle: Bundle) -> str:
    """One that is installed and that the bundle has a model for; LiteRT, the smaller, first."""
    held = {target.runtime for target in targets_of(bundle.path)}
    usable = [runtime for runtime in (LITERT, ONNX) if runtime in held and is_installed(runtime)]
    return usable[0] if usable else next(iter(held), LITERT)


def _screen(bundle: Bundle, arguments: argparse.Namespace) -> int:
    folder, out = Path(arguments.what), arguments.out or Path("report")
    if not folder.is_dir():
        raise ReportError(f"{folder} is no folder")
    if out.resolve().is_relative_to(folder.resolve()):
        raise ReportError(f"the report {out} would lie inside the folder that is screened")
    if out.exists():
        raise ReportError(f"{out} is there already; choose another --out")
    runtime = arguments.runtime or _runtime(bundle)
    predictor = load(bundle.path, runtime, arguments.heatmaps)
    key = PatientKey.load_or_create(arguments.key)
    limits = Limits(arguments.max_pixels, arguments.max_seconds, arguments.max_memory)
    reader = IsolatedReader(folder, bundle.card.preprocessing, limits)
    gallery = Gallery(out.parent / f".{out.name}.heatmaps") if arguments.heatmaps else None
    screener = Screener(reader, bundle.card, bundle.sha256, predictor, key, gallery=gallery)
    started = Event(
        now(), "started", "job", f"{bundle.card.model} {predictor.runtime}", bundle.sha256
    )
    try:
        rows = _rows(screener, discover(folder))
        with whole(out) as aside:
            write_rows(aside / PREDICTIONS, rows)
            if gallery is not None:
                gallery.hang(aside, rows)
            write_audit(aside, [started, *map(film_event, rows)], len(rows))
    finally:
        if gallery is not None:
            gallery.clear()
    failed = sum(row.status is Status.FAILED for row in rows)
    print(f"{len(rows)} files, {failed} failed: {out / PREDICTIONS}")
    return 3 if failed else 0


def _rows(screener: Screener, films: Sequence[Found]) -> list[Row]:
    rows: list[Row] = []
    seen = Seen()
    with closing(screener):
        for start in range(0, len(films), _BATCH):
            batch = [screener.read(found) for found in films[start : start + _BATCH]]
            rows += screener.score(batch, seen)
    return rows


if __name__ == "__main__":
    main()
