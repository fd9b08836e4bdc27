"""Update the tables and figure of docs/speed.md from the CSV files: ``python benchmarks/speed.py``.

The tables are between ``<!-- NAME -->`` and ``<!-- end -->``. If a CSV file is missing, its table
is not changed. Figures are medians of the rounds.
"""

import argparse
import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_DOCS: Final = Path(__file__).parents[1] / "docs"
_NAMES: Final = {
    "png": "PNG",
    "jpeg": "JPEG",
    "dicom": "raw DICOM",
    "j2k": "JPEG 2000 DICOM",
    "small": "JPEG, 224 pixels",
    "mixed": "PNG and raw DICOM",
}
_ARCHITECTURES: Final = {"efficientnet-lite0": "Lite0", "reference": "reference CNN"}
_REFERENCE: Final = ("tf.function", 8)

_BLUE, _LIGHT, _GREY = "#1f5fa8", "#8db8e8", "#b9b9b9"

Table = Iterator[Sequence[object]]


def main() -> None:
    """Update the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, default=_DOCS / "benchmarks")
    arguments = parser.parse_args()
    page = _DOCS / "speed.md"
    text = page.read_text(encoding="utf-8")
    for name, table in _TABLES.items():
        file = arguments.csv / f"{name.split('.')[0]}.csv"
        if file.exists():
            lines = "\n".join(_markdown(table(pd.read_csv(file))))
            pattern = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
            text = re.sub(
                pattern, lambda m, lines=lines: f"{m[1]}\n{lines}\n\n{m[2]}", text, flags=re.DOTALL
            )
    page.write_text(text, encoding="utf-8")
    _draw(arguments.csv, _DOCS / "benchmarks.svg")


def _markdown(rows: Table) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f"| {' | '.join(map(str, row))} |"
        if number == 0:
            yield f"|{' --- |' * len(row)}"


def _machine(frame: pd.DataFrame) -> Table:
    yield "", ""
    yield from frame.itertuples(index=False)


def _medians(frame: pd.DataFrame, *by: str) -> pd.DataFrame:
    return frame.groupby(list(by), sort=False).median(numeric_only=True).reset_index()


def _nightly(frame: pd.DataFrame) -> Table:
    yield (
        "films",
        "way",
        "CPU ms a film",
        "to the last row",
        "films/s",
        "MiB to the last row",
        "in all",
    )
    for run in _medians(frame, "kind", "way").itertuples():
        whole, rows = (1000 * s / run.films for s in (run.cpu_seconds, run.cpu_seconds_to_last_row))
        rate, memory = run.films / run.seconds, (run.pss_mib_to_last_row, run.pss_mib)
        films = f"{run.films:.0f} {_NAMES[run.kind]}"
        yield (
            films,
            run.way,
            f"{whole:.1f}",
            f"{rows:.1f}",
            f"{rate:.1f}",
            *(f"{m:.0f}" for m in memory),
        )


def _ratios(frame: pd.DataFrame) -> Table:
    """CPU time of a baseline as a multiple of ours, and our memory as a share of the baseline's.

    Medians of the ratios within each round: a round takes only minutes, while from one round to the
    next the whole machine may become slower.
    """
    yield "films", "way", "beside", "to the last row", "with the report", "memory to the last row"
    for kind, runs in frame.groupby("kind", sort=False):
        own = runs.way.str.startswith("screening")
        pairs = runs[own].merge(runs[~own], on="round", suffixes=("", "_beside"))
        for (way, beside), pair in pairs.groupby(["way", "way_beside"], sort=False):
            rows = pair.cpu_seconds_beside / pair.cpu_seconds_to_last_row
            whole = pair.cpu_seconds_beside / pair.cpu_seconds
            memory = pair.pss_mib_to_last_row / pair.pss_mib_beside
            yield (
                _NAMES[str(kind)],
                way,
                beside,
                f"{rows.median():.2f} x",
                f"{whole.median():.2f} x",
                f"{memory.median():.2f}",
            )


def _limits(frame: pd.DataFrame) -> Table:
    yield "", "cores", "films/s at most", "CPU ms a film"
    for kind, name in _NAMES.items():
        frame["what"] = frame.what.str.replace(rf"^{kind}, ", f"{name}, ", regex=True)
    yield from frame.itertuples(index=False)


def _inference(frame: pd.DataFrame) -> Table:
    """Films per second with one thread and with all cores, for each measured batch size."""
    medians = _medians(frame, "architecture", "threads", "way", "batch")
    threads, batches = medians.threads.unique(), medians.batch.unique()
    heads = [f"threads: {n}, batch: {batch}" for n in threads for batch in batches]
    yield "network", "", *heads, f"beside `{_REFERENCE[0]}`, 1 thread, batch {_REFERENCE[1]}"
    for (architecture, way), rows in medians.groupby(["architecture", "way"], sort=False):
        speeds = [
            f"{row.films_per_cpu_second if row.threads == 1 else row.films_per_second:.1f}"
            for row in rows.itertuples()
        ]
        ratio = _relative_speed(medians, str(architecture), str(way))
        yield _ARCHITECTURES[str(architecture)], way, *speeds, f"{ratio:.2f} x"


def _relative_speed(medians: pd.DataFrame, architecture: str, way: str) -> float:
    own = (medians.architecture == architecture) & (medians.threads == 1)
    at = medians[own & (medians.batch == _REFERENCE[1])].set_index("way").films_per_cpu_second
    return float(at[way] / at[_REFERENCE[0]])


def _startup(frame: pd.DataFrame) -> Table:
    yield "from the start of the process to", "seconds", "CPU-seconds", "MiB"
    for row in _medians(frame, "what").itertuples():
        yield row.what, f"{row.seconds:.2f}", f"{row.cpu_seconds:.2f}", f"{row.pss_mib:.0f}"


def _growth(frame: pd.DataFrame) -> Table:
    yield (
        "films",
        "start-up, s",
        "ms a film",
        "CPU ms a film",
        "beside 1,000",
        "report, s",
        "MiB to the last row",
        "in all",
    )
    medians = _medians(frame, "films").set_index("films")
    thousand = medians.cpu_ms_a_film.get(1000, float("nan"))
    for films, row in medians.iterrows():
        yield (
            f"{films:,}",
            f"{row.startup_seconds:.1f}",
            f"{row.ms_a_film:.2f}",
            f"{row.cpu_ms_a_film:.2f}",
            f"{row.cpu_ms_a_film / thousand:.2f} x",
            f"{row.report_seconds:.1f}",
            f"{row.pss_mib_to_last_row:.0f}",
            f"{row.pss_mib:.0f}",
        )


def _scaling(frame: pd.DataFrame) -> Table:
    yield "processes", "films/s", "CPU ms a film", "cores busy", "MiB"
    for row in _medians(frame, "processes").itertuples():
        figures = (row.cpu_ms_a_film, row.cores_busy)
        rate, memory = f"{row.films_per_second:.1f}", f"{row.pss_mib:.0f}"
        yield row.processes, rate, *(f"{figure:.2f}" for figure in figures), memory


def _efficiency(frame: pd.DataFrame) -> Table:
    yield "films", "read, CPU ms", "score", "write down", "films/s at most", "films/s", "efficiency"
    for row in _medians(frame, "films").itertuples():
        stages = (row.read_cpu_ms, row.score_cpu_ms, row.commit_cpu_ms)
        rates = (row.films_per_second_at_most, row.films_per_second)
        yield (
            _NAMES[row.films],
            *(f"{stage:.2f}" for stage in stages),
            *(f"{rate:.1f}" for rate in rates),
            f"{row.efficiency:.2f}",
        )


def _reduction(frame: pd.DataFrame) -> Table:
    yield (
        "films",
        "reduced",
        "unsure",
        "moved by more than 0.02",
        "95 % of the unsure by at most",
        "largest move",
        "tensor, 255ths at most",
        "other status or finding",
    )
    for row in frame.itertuples():
        yield (
            f"{row.films} {_NAMES[row.kind]}",
            row.reduced,
            row.unsure,
            row.moved,
            f"{row.percentile:.3f}",
            f"{row.largest:.3f}",
            f"{row.tensor:.2f}",
            row.other,
        )


_TABLES: Final[dict[str, Callable[[pd.DataFrame], Table]]] = {
    "machine": _machine,
    "nightly": _nightly,
    "nightly.ratios": _ratios,
    "limits": _limits,
    "inference": _inference,
    "startup": _startup,
    "growth": _growth,
    "scaling": _scaling,
    "efficiency": _efficiency,
    "reduction": _reduction,
}


def _draw(folder: Path, out: Path) -> None:
    """Draw up to four panels, one for each existing CSV file."""
    figure = Figure(figsize=(12, 9), layout="constrained", facecolor="white")
    panels: dict[str, tuple[Callable[[Axes, pd.DataFrame], None], Any]] = {
        name: (draw, pd.read_csv(folder / f"{name}.csv"))
        for name, draw in {
            "nightly": _draw_nightly,
            "inference": _draw_inference,
            "growth": _draw_growth,
            "scaling": _draw_scaling,
        }.items()
        if (folder / f"{name}.csv").exists()
    }
    for axes, (draw, frame) in zip(figure.subplots(2, 2).flat, panels.values(), strict=False):
        draw(axes, frame)
        axes.spines[["top", "right"]].set_visible(False)
    with (folder / "machine.csv").open(encoding="utf-8") as file:
        facts = dict(csv.reader(file))
    figure.suptitle(f"{facts['processor']}, {facts['cores']} cores, {facts['memory']}")
    figure.savefig(out, metadata={"Date": None})


def _draw_nightly(axes: Axes, frame: pd.DataFrame) -> None:
    """Draw the time to the last row dark, the report light, and the baselines grey."""
    labels: list[str] = []
    for kind, runs in _medians(frame, "kind", "way").groupby("kind", sort=False):
        beside = runs[~runs.way.str.startswith("screening")].cpu_seconds.max()
        for run in runs.itertuples():
            own, place = run.way.startswith("screening"), len(labels)
            axes.barh(place, run.cpu_seconds / beside, color=_LIGHT if own else _GREY)
            if own:
                axes.barh(place, run.cpu_seconds_to_last_row / beside, color=_BLUE)
            milliseconds = f" {1000 * run.cpu_seconds / run.films:.0f} ms"
            axes.annotate(milliseconds, (run.cpu_seconds / beside, place), va="center", fontsize=7)
            labels.append(f"{_NAMES[str(kind)]}: {run.way}")
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("processor time of a film beside the dearest way; light: the report")
    axes.set_title("End to end, start-up and all processes")


def _draw_inference(axes: Axes, frame: pd.DataFrame) -> None:
    medians = _medians(frame, "architecture", "threads", "way", "batch")
    ways = list(medians.way.unique())
    for shift, architecture in enumerate(medians.architecture.unique()):
        ratios = [_relative_speed(medians, architecture, way) for way in ways]
        places = [place + 0.4 * shift - 0.2 for place in range(len(ways))]
        color = (_BLUE, _LIGHT)[shift % 2]
        bars = axes.bar(places, ratios, 0.4, color=color, label=_ARCHITECTURES[architecture])
        axes.bar_label(bars, fmt="%.1f", fontsize=7)
    axes.set_xticks(range(len(ways)), ways, rotation=20, fontsize=8)
    axes.axhline(1, color=_GREY, linewidth=1)
    axes.set_ylabel(f"films a CPU-second beside {_REFERENCE[0]}")
    axes.set_title(f"Inference alone, one thread, batch {_REFERENCE[1]}")
    axes.legend(frameon=False)


def _draw_growth(axes: Axes, frame: pd.DataFrame) -> None:
    medians = _medians(frame, "films")
    axes.plot(medians.films, medians.cpu_ms_a_film, "o-", color=_BLUE, label="CPU ms a film")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.5 * medians.cpu_ms_a_film.max())
    axes.set_xlabel("films")
    axes.set_ylabel("CPU ms a film, without start-up and report")
    memory = axes.twinx()
    memory.plot(medians.films, medians.pss_mib, "s:", color=_GREY, label="MiB in all")
    memory.plot(
        medians.films, medians.pss_mib_to_last_row, "s-", color=_GREY, label="MiB to the last row"
    )
    memory.set_ylim(0, 1.1 * medians.pss_mib.max())
    memory.set_ylabel("MiB")
    memory.spines["top"].set_visible(False)
    lines, labels = axes.get_legend_handles_labels()
    others, names = memory.get_legend_handles_labels()
    axes.legend(lines + others, labels + names, frameon=False, loc="lower left", fontsize=8)
    axes.set_title("Growth, 224-pixel JPEG")


def _draw_scaling(axes: Axes, frame: pd.DataFrame) -> None:
    medians = _medians(frame, "processes")
    places = range(len(medians))
    bars = axes.bar(places, medians.films_per_second, color=_BLUE)
    labels = [f"{busy:.2f} cores busy" for busy in medians.cores_busy]
    axes.bar_label(bars, labels, fontsize=8)
    axes.set_xticks(places, [f"{number}" for number in medians.processes])
    axes.set_xlabel("worker processes")
    axes.set_ylabel("films/s")
    axes.set_title("Worker processes, 224-pixel JPEG")


if __name__ == "__main__":
    main()
