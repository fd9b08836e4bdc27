"""The result of one file: class, status, reason, warnings, and its row in the report."""

import csv
import math
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from screening.errors import ReportError

NORMAL: Final = "NORMAL"
PNEUMONIA: Final = "PNEUMONIA"

#: The index in this tuple is the column of the model's score.
CLASSES: Final = (NORMAL, PNEUMONIA)
POSITIVE: Final = CLASSES.index(PNEUMONIA)


#: Problems with the lung fields of a film: warnings, or refusals with --refuse.
_LUNGS: Final = {
    "lungs_not_found": "No lungs were found on the film",
    "lungs_cut_off": "The lungs are cut off at an edge of the film",
    "lungs_small": "The lungs are small on the film",
    "lungs_tilted": "The lungs are tilted",
    "lungs_asymmetric": "One lung is much smaller than the other",
}

#: The model must not read this file. A refusal is a valid result, not an error.
REFUSALS: Final = {
    "not_image": "The file is not an image",
    "not_followed": "The entry is not a regular file inside the folder",
    "not_chest": "The header says that this is not a chest radiograph",
    "lateral": "The header says that this is a lateral view; the model reads frontal views",
    "too_small": "The film is too small to be read",
    "blank": "The film is blank",
    "not_frontal_chest": "The picture does not look like a frontal chest film",
    **_LUNGS,
}

#: The file should be a film but could not be read.
FAILURES: Final = {
    "empty": "The file is empty",
    "vanished": "The file disappeared after the job had listed it",
    "unreadable": "The file could not be opened",
    "not_decodable": "The image could not be decoded",
    "unsupported": "The image format is not supported",
    "too_large": "The film is larger than the limit",
    "decode_timeout": "The decoder was stopped because it took too long",
    "out_of_memory": "Decoding needs more memory than the limit",
    "decoder_crashed": "The decoder crashed",
    "killed_worker": "The worker died twice while it processed this film",
    "no_score": "The model gave no valid probability",
    "not_screened": "The job was stopped before it reached this film",
}

DUPLICATES: Final = {
    "same_bytes": "The file has the same bytes as another film",
    "already_screened": "A finished job has scored this file",
}

#: The film has a probability, but its reader should know about a problem.
WARNINGS: Final = {
    "multi_frame": "Only the first frame was read",
    "header_ignored": "The header describes the grey values wrongly; this part was not used",
    "same_pixels": "Another film has the same pixels",
    "out_of_domain": "The film is unlike the films that the model was trained on",
    "age_not_trained": "The model was not trained on patients of about this age",
    "inverted": "The film looks like a negative: black and white seem to be exchanged",
    "rotated": "The film does not look upright",
    **_LUNGS,
    "low_lung_evidence": "Most of the evidence for pneumonia lies outside the lungs",
}

_SENTENCES: Final = REFUSALS | FAILURES | DUPLICATES | WARNINGS


@dataclass(frozen=True, slots=True)
class _Remark:
    """A stable code and what is special about one film; as text ``code: Sentence (detail).``.

    Attributes:
        code: a code of the tables in this module.
        detail: continues the sentence of the code; empty if there is nothing to add.

    Raises:
        ValueError: if the code is in no table; codes are part of the file format.
    """

    code: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.code not in _SENTENCES:
            raise ValueError(f"the code {self.code!r} is unknown")

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"

    @property
    def sentence(self) -> str:
        """The text without the code: ``Sentence (detail).``."""
        sentence = _SENTENCES[self.code]
        return f"{sentence} ({self.detail})." if self.detail else f"{sentence}."


class Reason(_Remark):
    """Why a film has no probability; the code is a refusal, a failure or a duplicate."""

    __slots__ = ()


class FilmWarning(_Remark):
    """What a reader of a film's probability should know; the code is one of :data:`WARNINGS`."""

    __slots__ = ()


PREDICTIONS: Final = "predictions.csv"


class Status(StrEnum):
    """The outcome for a film."""

    SCORED = "scored"
    REFUSED = "refused"
    FAILED = "failed"
    DUPLICATE = "duplicate"


#: Age bands in years, in ascending order: the age at which the next band begins, and the name.
AGE_BANDS: Final = (
    *((5, "0-4"), (18, "5-17"), (40, "18-39"), (65, "40-64"), (80, "65-79")),
    (math.inf, "80+"),
)


def age_band(years: float | None) -> str:
    """Return the name of the age band for an age in years; empty if the age is unknown."""
    if years is None:
        return ""
    return next(band for limit, band in AGE_BANDS if years < limit)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of ``predictions.csv``; the fields are its columns, in this order.

    Attributes:
        film: path relative to the folder, with POSIX slashes.
        sha256: hash of the file, empty if it could not be read.
        reason: None for a scored film.
        probability: calibrated P(pneumonia), six decimals.
        label: class name, if a label was given.
        outcome: TP, FP, TN or FN, if the film has a label and a prediction.
        patient: keyed hash.
        screened_at: UTC, ISO 8601.
        seconds: time for reading, decoding and this film's share of the batch.
        runtime: target and runtime used.
        instance: keyed hash of the SOP Instance UID.
        study: keyed hash of the Study Instance UID.
        tensor_sha256: hash of the model's input.
        frontal: similarity to a frontal chest film, 0 to 1; four decimals.
        domain_distance: distance from the training films; above 1 the film gets a warning.
        heatmap: path of the film's heat map in the report; empty if it has none.
        thumbnail: path of the film as the model saw it; empty if it has none.
        grey_mean: mean of the grey values of the model's input, 0..1. This and the next four
            columns come from :func:`~screening.model.drift_baseline.input_statistics`: six
            decimals, scored films only.
        grey_sd: their standard deviation.
        black: share of black pixels.
        white: share of white pixels.
        sharpness: mean absolute Laplacian.
        decoding: ``full``, or how a large film was reduced while it was decoded, and by which
            factor: ``jpeg/2``, ``jpeg2000/4``, ``mean/4``; empty if it was not decoded.
        lung_evidence: share of the evidence for pneumonia that lies inside the lungs, 0 to 1, four
            decimals; only for scored films, if the model has a lung network and a map, and the map
            has any evidence for pneumonia.
        lung_area: share of the film that is lung, 0 to 1, four decimals.
    """

    film: str
    sha256: str = ""
    status: Status
    reason: Reason | None = None
    probability: float | None = None
    prediction: str = ""
    threshold: float | None = None
    label: str = ""
    outcome: str = ""
    patient: str = ""
    view: str = ""
    modality: str = ""
    model: str = ""
    model_sha256: str = ""
    screened_at: str = ""
    seconds: float = 0.0
    runtime: str = ""
    instance: str = ""
    study: str = ""
    sex: str = ""
    age_band: str = ""
    manufacturer: str = ""
    warnings: tuple[FilmWarning, ...] = ()
    tensor_sha256: str = ""
    frontal: float | None = None
    domain_distance: float | None = None
    heatmap: str = ""
    thumbnail: str = ""
    grey_mean: float | None = None
    grey_sd: float | None = None
    black: float | None = None
    white: float | None = None
    sharpness: float | None = None
    decoding: str = ""
    lung_evidence: float | None = None
    lung_area: float | None = None

    @property
    def reason_code(self) -> str:
        """Code of the reason; empty without one."""
        return self.reason.code if self.reason else ""

    @property
    def warning_codes(self) -> set[str]:
        """Codes of the warnings, each once."""
        return {warning.code for warning in self.warnings}

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON; a reason or warning as code and detail."""
        reason = self.reason and [self.reason.code, self.reason.detail]
        warnings = [[warning.code, warning.detail] for warning in self.warnings]
        return vars(self) | {"reason": reason, "warnings": warnings}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build a row from plain values; the inverse of :meth:`as_dict`."""
        common: dict[str, Any] = {
            name: sys.intern(values[name]) for name in _COMMON if name in values
        }
        reason = values.get("reason")
        records = {
            "status": Status(values["status"]),
            "reason": reason and Reason(*reason),
            "warnings": tuple(FilmWarning(*warning) for warning in values.get("warnings", ())),
        }
        return cls(**values | common | records)

    def as_columns(self) -> dict[str, Any]:
        """Return the fields as ``predictions.csv`` shows them: reason and warnings as text."""
        reason = "" if self.reason is None else str(self.reason)
        return vars(self) | {"reason": reason, "warnings": _warnings_text(self.warnings)}


#: Columns with the same value in many rows. Interning their strings saves a fifth of the memory.
_COMMON: Final = (
    *("prediction", "view", "modality", "model", "model_sha256", "screened_at", "runtime"),
    *("sex", "age_band", "manufacturer", "decoding"),
)

COLUMNS: Final = tuple(field.name for field in fields(Row))

#: Columns of the input statistics, by name in :data:`screening.model.drift_baseline.INPUTS`.
INPUT_COLUMNS: Final = {
    "mean": "grey_mean",
    "sd": "grey_sd",
    "black": "black",
    "white": "white",
    "sharpness": "sharpness",
}

_NUMBERS: Final = (
    *("probability", "threshold", "seconds", "frontal", "domain_distance"),
    *INPUT_COLUMNS.values(),
    *("lung_evidence", "lung_area"),
)

# Older reports end with one of these columns, the newest first.
_ENDS: Final = ("decoding", "sharpness", "heatmap")
_KNOWN: Final = (COLUMNS, *(COLUMNS[: COLUMNS.index(end) + 1] for end in _ENDS))

# Spreadsheets execute cells that begin with one of these (OWASP, "CSV Injection").
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


#: RFC 4180, section 2. With "\\n" Python's writer would leave a "\\r" inside a cell unquoted.
LINE_END: Final = "\r\n"


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write ``predictions.csv``: UTF-8, comma-separated, one line per film, formulas escaped."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=LINE_END)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([cell(value) for value in row.as_columns().values()])


def read_rows(path: Path) -> list[Row]:
    """Read ``predictions.csv``; the inverse of :func:`write_rows`.

    Columns that an older report does not have stay empty.

    Raises:
        ReportError: if the file cannot be read, if its columns are not those of a report, or if a
            line is damaged; the message names the line.
    """
    try:
        file = path.open(newline="", encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{path.parent} is not a report: {error.strerror}") from error
    with file:
        reader = csv.DictReader(file)
        found = tuple(reader.fieldnames or ())
        columns = next((known for known in _KNOWN if len(known) <= len(found)), _KNOWN[-1])
        if found[: len(columns)] != columns:
            raise ReportError(f"{path} has the columns {reader.fieldnames}, expected {COLUMNS}")
        try:
            return [_row(values, columns) for values in reader]
        except (AttributeError, ValueError) as error:
            where = f"{path}, line {reader.line_num}"
            raise ReportError(f"{where} is not a row of a report: {error}") from error


def cell(value: object) -> str:
    """Format a value as a CSV cell: None becomes empty, and a formula is quoted."""
    if value is None:
        return ""
    if isinstance(value, str) and (value.startswith((*_FORMULA_STARTS, "'"))):
        return "'" + value
    return str(value)


def text(cell: str) -> str:
    """Return the text of a cell; the inverse of :func:`cell` for text."""
    return cell.removeprefix("'")


def _row(cells: dict[str, str], columns: tuple[str, ...]) -> Row:
    values: dict[str, Any] = {name: text(cells[name]) for name in columns}
    for name in set(_NUMBERS).intersection(columns):
        values[name] = float(values[name]) if values[name] else None
    values["reason"] = _code_and_detail(values["reason"]) if values["reason"] else None
    values["warnings"] = [
        _code_and_detail(warning.replace(";;", ";"))
        for warning in _BETWEEN.split(values["warnings"])
        if warning
    ]
    return Row.from_dict(values)


# No sentence has a parenthesis, so the first one begins the detail.
_REMARK: Final = re.compile(r"([a-z_]+): [^()]+?(?: \((.+)\))?\.", re.DOTALL)

# Semicolons of a detail are doubled, so that a single one separates two warnings.
_BETWEEN: Final = re.compile(r"(?<!;); ")


def _warnings_text(warnings: tuple[FilmWarning, ...]) -> str:
    return "; ".join(str(warning).replace(";", ";;") for warning in warnings)


def _code_and_detail(text: str) -> tuple[str, str]:
    """Return code and detail of ``code: Sentence (detail).``."""
    match = _REMARK.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is neither a reason nor a warning")
    return match[1], match[2] or ""
