"""Command line of the program in a bundle."""

import argparse
import json
import signal
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import FrameType

from exports.bundle import Bundle
from exports.edge.run import EdgeRun, is_whole, journal_of, report_images_of, screen_film
from exports.errors import BundleError
from exports.runtimes.load import check_map, is_installed, load, load_lungs, load_target
from exports.selftest import check_selftest, targets_of
from exports.targets import LITERT, ONNX, TARGETS
from screening.errors import ReportError, ScreeningError
from screening.imaging.film import DecodeLimits
from screening.inference.pipeline import Screener
from screening.inference.report_images import ReportImages
from screening.inference.sandbox import IsolatedReader
from screening.model.lungs import QUALITY
from screening.model.predictor import Predictor
from screening.privacy import PatientKey
from screening.results import PREDICTIONS, Status

_SOME_FAILED = 3
_INTERRUPTED = 130


def main() -> None:
    """Run ``screen.pyz selftest``, ``screen.pyz FOLDER --out REPORT`` or ``screen.pyz FILM``."""
    arguments = _parser().parse_args()
    # Service managers send SIGTERM; it is handled like Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        bundle = Bundle.open(arguments.bundle)
        if arguments.what == "selftest":
            _selftest(bundle)
        elif Path(arguments.what).is_file():
            sys.exit(_film(bundle, arguments))
        else:
            sys.exit(_folder(bundle, arguments))
    except (ScreeningError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print(
            "Interrupted. Run the same command again to continue from the last film.",
            file=sys.stderr,
        )
        sys.exit(_INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="screen.pyz",
        description="Read chest films for pneumonia. Research software: not a medical device.",
    )
    about = "a folder of films; or one film, to print its row as JSON; or the word selftest"
    parser.add_argument("what", help=about)
    parser.add_argument("--out", type=Path, help="report folder (default: ./report)")
    about = (
        "also screen films that are added to the folder later; Ctrl-C stops and writes the report"
    )
    parser.add_argument("--watch", action="store_true", help=about)
    about = "with --watch: wait until a file has been unchanged for this many seconds (default: 5)"
    parser.add_argument("--settle", type=float, default=5.0, help=about)
    # The program is a file of its bundle.
    here = Path(sys.argv[0]).resolve().parent
    parser.add_argument(
        "--bundle", type=Path, default=here, help="default: the folder of this program"
    )
    about = "add a picture of each scored film that shows where the model sees pneumonia"
    parser.add_argument("--heatmaps", action="store_true", help=about)
    about = "decode all pixels of large films; slower, with nearly the same results"
    parser.add_argument("--exact", action="store_true", help=about)
    about = "refuse films with this flaw instead of adding a warning; can be repeated"
    parser.add_argument("--refuse", action="append", choices=QUALITY, default=[], help=about)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--runtime", choices=(LITERT, ONNX), help="default: the installed one")
    about = "a model of the bundle (default: the most exact one of the runtime)"
    chosen.add_argument("--target", choices=tuple(TARGETS), help=about)
    for name, default, what in (
        ("pixels", DecodeLimits.pixels, "fail films with more pixels than this"),
        ("seconds", DecodeLimits.seconds, "stop a decoder after this many seconds"),
        ("memory", DecodeLimits.memory, "memory limit of a decoder in bytes"),
    ):
        about = f"{what} (default: {default})"
        parser.add_argument(f"--max-{name}", type=type(default), default=default, help=about)
    key = Path.home() / ".local" / "state" / "screening" / "patient.key"
    parser.add_argument("--key", type=Path, default=key, help=f"default: {key}")
    return parser


def _selftest(bundle: Bundle) -> None:
    print(f"{bundle.card.model}: all files are unchanged")
    targets = targets_of(bundle.path)
    for target in targets:
        if is_installed(target.runtime):
            largest = check_selftest(bundle, target)
            print(f"{target.name}: correct, largest difference {largest:.2g}")
        else:
            print(f"{target.name}: not tested, {target.runtime} is not installed")
    if not any(is_installed(target.runtime) for target in targets):
        raise ReportError("no runtime is installed; run: pip install -r requirements.txt")


def _film(bundle: Bundle, arguments: argparse.Namespace) -> int:
    # A link is resolved, because the film may be in another folder.
    film = Path(arguments.what).resolve()
    with closing(_screener(bundle, arguments, film.parent, None)) as screener:
        row = screen_film(screener, film)
    # ASCII output, because the terminal may not support the characters of a name.
    print(json.dumps(row.as_columns(), indent=2))
    return _SOME_FAILED if row.status is Status.FAILED else 0


def _folder(bundle: Bundle, arguments: argparse.Namespace) -> int:
    folder, out = Path(arguments.what), arguments.out or Path("report")
    if not folder.is_dir():
        raise ReportError(f"{folder} is not a folder")
    if out.resolve().is_relative_to(folder.resolve()):
        raise ReportError(
            f"the report {out} would be inside the screened folder; choose another --out"
        )
    if out.exists():
        if is_whole(out):
            # The power failed after the report was written and before its journal was removed.
            journal_of(out).unlink(missing_ok=True)
        raise ReportError(f"{out} already exists; choose another --out")
    gallery = report_images_of(out) if arguments.heatmaps else None
    with closing(_screener(bundle, arguments, folder, gallery)) as screener:
        night = EdgeRun(screener, out, arguments.watch, arguments.settle, _say_at_once)
        if arguments.watch:
            _stop_gently(night.stop)
        rows = night.carry_out()
    failed = sum(row.status is Status.FAILED for row in rows)
    stream = sys.stderr if arguments.watch else sys.stdout
    print(f"{len(rows)} files, {failed} failed: {out / PREDICTIONS}", file=stream)
    return _SOME_FAILED if failed else 0


def _screener(
    bundle: Bundle, arguments: argparse.Namespace, folder: Path, gallery: ReportImages | None
) -> Screener:
    predictor = _predictor(bundle, arguments)
    refused = tuple(sorted(set(arguments.refuse)))
    target = TARGETS[predictor.target]
    lungs = load_lungs(bundle.path, bundle.card, target.runtime, refused)
    key = PatientKey.load_or_create(arguments.key)
    limits = DecodeLimits(arguments.max_pixels, arguments.max_seconds, arguments.max_memory)
    reader = IsolatedReader(folder, bundle.card.preprocessing, limits, exact=arguments.exact)
    return Screener(
        reader, bundle.card, bundle.sha256, predictor, key, gallery=gallery, lungs=lungs
    )


def _predictor(bundle: Bundle, arguments: argparse.Namespace) -> Predictor:
    if arguments.target is None:
        return load(bundle.path, arguments.runtime or _runtime(bundle), arguments.heatmaps)
    target = TARGETS[arguments.target]
    if target not in targets_of(bundle.path):
        held = ", ".join(one.name for one in targets_of(bundle.path))
        raise BundleError(f"{bundle.path} has no {target.name}; its models: {held}")
    predictor = load_target(bundle.path, target)
    if arguments.heatmaps:
        check_map(predictor, bundle.path)
    return predictor


def _runtime(bundle: Bundle) -> str:
    """Choose an installed runtime that the bundle has a model for, LiteRT (the smaller) first."""
    held = {target.runtime for target in targets_of(bundle.path)}
    usable = [runtime for runtime in (LITERT, ONNX) if runtime in held and is_installed(runtime)]
    return usable[0] if usable else next(iter(held), LITERT)


def _say_at_once(line: str) -> None:
    print(line, flush=True)


def _stop_gently(stop: threading.Event) -> None:
    """Let Ctrl-C end a watch after the current batch, and a second Ctrl-C end it immediately."""

    def set_or_interrupt(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, set_or_interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
