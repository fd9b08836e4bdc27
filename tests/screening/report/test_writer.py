import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from screening.audit import Event, read_audit
from screening.errors import FileUnavailable, LabelsError
from screening.inference.report_images import ReportImages, place_of
from screening.privacy import PatientKey
from screening.report.drift.drift_csv import Drift
from screening.report.drift.profile import NightProfile
from screening.report.labels import LabelProblem, Labels, Policy, Unused
from screening.report.verification import verify
from screening.report.writer import Night, Report, write_report
from screening.results import Reason, Row, Status, read_rows

ROWS = [
    Row(film="a.png", status=Status.SCORED, probability=0.75, prediction="PNEUMONIA"),
    Row(film="b.png", status=Status.SCORED, probability=0.25, prediction="NORMAL"),
    Row(film="c.txt", status=Status.REFUSED, reason=Reason("not_image")),
]
EVENTS = [Event("2026-01-01T00:00:00.000+00:00", "submitted", "job-1", {"user": "ada"})]


def labels(tmp_path: Path, content: str) -> Labels:
    path = tmp_path / "labels.csv"
    path.write_text(content, encoding="utf-8")
    return Labels.read(path)


def write(folder: Path, key: PatientKey, rows: list[Row] = ROWS, **given: object) -> Report:
    return write_report(folder, Night(rows=rows, events=EVENTS, key=key, **given))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_report_contains_every_row(tmp_path: Path, key: PatientKey) -> None:
    report = write(tmp_path / "report", key)
    assert read_rows(tmp_path / "report/predictions.csv") == ROWS
    assert list(report.rows) == ROWS
    assert report.folder == tmp_path / "report"


def test_report_contains_the_documented_files(tmp_path: Path, key: PatientKey) -> None:
    write(tmp_path / "report", key)
    assert {"predictions.csv", "summary.csv", "audit.csv"} <= names(tmp_path / "report")


def test_audit_lists_all_events_and_films_and_verifies(tmp_path: Path, key: PatientKey) -> None:
    write(tmp_path / "report", key)
    audit = tmp_path / "report/audit.csv"
    events = [line.split(",")[2:4] for line in audit.read_text(encoding="utf-8").splitlines()]
    assert events[1:] == [
        ["submitted", "job-1"],
        ["scored", "a.png"],
        ["scored", "b.png"],
        ["refused", "c.txt"],
        ["drawn", "figures/scores.png"],
        ["drawn", "figures/statuses.png"],
        ["written", "report"],
    ]
    assert verify(audit.parent) == []


def test_audit_names_the_other_files_with_hashes(tmp_path: Path, key: PatientKey) -> None:
    write(tmp_path / "report", key)
    last = (tmp_path / "report/audit.csv").read_text(encoding="utf-8").splitlines()[-1]
    for name in names(tmp_path / "report") - {"audit.csv", "figures"}:
        content = (tmp_path / "report" / name).read_bytes()
        assert f"{name}={hashlib.sha256(content).hexdigest()}" in last


def test_labels_are_joined_and_their_file_is_recorded(tmp_path: Path, key: PatientKey) -> None:
    given = labels(tmp_path, "film,label\na.png,1\nb.png,1\nlost.png,0\n")
    report = write(tmp_path / "report", key, labels=given)
    rows = read_rows(tmp_path / "report/predictions.csv")
    assert [row.outcome for row in rows] == ["TP", "FN", ""]
    summary = (tmp_path / "report/summary.csv").read_text(encoding="utf-8")
    assert "labels_without_film,1,,,3,all,film,\n" in summary
    assert "recall,0.5," in summary
    audit = (tmp_path / "report/audit.csv").read_text(encoding="utf-8")
    assert "labels.csv" in audit
    assert hashlib.sha256((tmp_path / "labels.csv").read_bytes()).hexdigest() in audit
    assert {line.metric for line in report.lines} >= {"recall", "labels_without_film"}


def test_conflicting_labels_leave_no_report(tmp_path: Path, key: PatientKey) -> None:
    given = labels(tmp_path, "film,label\na.png,1\na.png,0\n")
    with pytest.raises(LabelsError):
        write(tmp_path / "report", key, labels=given)
    assert names(tmp_path) == {"labels.csv"}


def test_non_empty_folder_is_not_changed(tmp_path: Path, key: PatientKey) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "old.csv").write_text("old")
    with pytest.raises(FileUnavailable, match="report"):
        write(tmp_path / "report", key)
    assert names(tmp_path) == {"report"}
    assert names(tmp_path / "report") == {"old.csv"}


def test_report_is_written_into_an_empty_folder(tmp_path: Path, key: PatientKey) -> None:
    (tmp_path / "report").mkdir()
    write(tmp_path / "report", key)
    assert "predictions.csv" in names(tmp_path / "report")


def test_unwritable_path_is_an_error_that_names_it(tmp_path: Path, key: PatientKey) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileUnavailable, match="file"):
        write(tmp_path / "file" / "report", key)


def test_night_without_films_gets_a_report(tmp_path: Path, key: PatientKey) -> None:
    write(tmp_path / "report", key, [])
    assert read_rows(tmp_path / "report/predictions.csv") == []
    assert verify(tmp_path / "report") == []


def test_report_contains_its_heat_maps_and_audit_names_them(
    tmp_path: Path, key: PatientKey
) -> None:
    place = place_of("ab" * 32)
    gallery = ReportImages(tmp_path / ".aside")
    gallery.keep({place: b"picture", place_of("cd" * 32): b"of a row that is not there"})
    rows = [replace(ROWS[0], heatmap=place), *ROWS[1:]]
    write(tmp_path / "report", key, rows, gallery=gallery)
    assert names(tmp_path / "report" / "heatmaps") == {"abababababababab.png"}
    assert [row.heatmap for row in read_rows(tmp_path / "report/predictions.csv")] == [
        place,
        "",
        "",
    ]
    audit = (tmp_path / "report/audit.csv").read_text(encoding="utf-8")
    assert f"drawn,{place},,{hashlib.sha256(b'picture').hexdigest()}" in audit
    assert verify(tmp_path / "report") == []


def test_report_has_the_signature_over_its_chain_head(tmp_path: Path, key: PatientKey) -> None:
    write(tmp_path / "report", key, sign=lambda head: head.encode())
    head = read_audit((tmp_path / "report/audit.csv").read_bytes()).head
    assert (tmp_path / "report/audit.sig").read_bytes() == head.encode()


def test_report_is_not_written_if_signing_fails(tmp_path: Path, key: PatientKey) -> None:
    def sign(_head: str) -> bytes:
        raise FileUnavailable("the key is gone")

    with pytest.raises(FileUnavailable, match="the key is gone"):
        write(tmp_path / "report", key, sign=sign)
    assert names(tmp_path) == set()


def test_missing_heat_map_leaves_no_report(tmp_path: Path, key: PatientKey) -> None:
    rows = [replace(ROWS[0], heatmap=place_of("ab" * 32))]
    with pytest.raises(FileUnavailable, match="missing"):
        write(tmp_path / "report", key, rows, gallery=ReportImages(tmp_path / ".aside"))
    assert names(tmp_path) == set()


def test_unused_labels_are_written_to_the_report(tmp_path: Path, key: PatientKey) -> None:
    given = labels(tmp_path, "film,label\na.png,1\nlost.png,0\n")
    report = write(tmp_path / "report", key, labels=given, shown_name=key.film)
    assert report.unused == [Unused(3, LabelProblem.NO_FILM)]
    content = (tmp_path / "report/labels.csv").read_text(encoding="utf-8")
    assert content.splitlines() == ["line,problem,film", "3,no_film,"]


def test_unused_label_names_a_hidden_film_by_its_hash(tmp_path: Path, key: PatientKey) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("film,label\na.png,1\na.png,0\n", encoding="utf-8")
    given = Labels.read(path, Policy.LIST)
    report = write(tmp_path / "report", key, labels=given, shown_name=key.film)
    assert {one.film for one in report.unused or ()} == {key.film("a.png")}
    assert "a.png" not in (tmp_path / "report/labels.csv").read_text(encoding="utf-8")


def test_report_with_labels_has_operating_points(tmp_path: Path, key: PatientKey) -> None:
    rows = [replace(row, threshold=0.5 if row.probability else None) for row in ROWS]
    given = labels(tmp_path, "film,label\na.png,1\nb.png,0\n")
    write(tmp_path / "report", key, rows, labels=given, prevalence=0.1)
    table = (tmp_path / "report/operating_points.csv").read_text(encoding="utf-8")
    assert "0.500000,step; " in table
    assert "ppv_projected" in (tmp_path / "report/summary.csv").read_text(encoding="utf-8")


def test_report_without_labels_has_no_label_files(tmp_path: Path, key: PatientKey) -> None:
    write(tmp_path / "report", key)
    assert not {"labels.csv", "operating_points.csv"} & names(tmp_path / "report")


def test_drift_is_in_the_report_its_summary_and_audit(tmp_path: Path, key: PatientKey) -> None:
    shared = {"against": "last nights", "window": "tonight", "n": 100}
    breach = Drift(measure="ks", value=0.5, high=0.25, breach=True, sentence="It is.", **shared)  # type: ignore[arg-type]
    silent = Drift(measure="all", sentence="Nothing to compare with.", **shared)  # type: ignore[arg-type]
    report = write(tmp_path / "report", key, profile=NightProfile.of(ROWS), drift=[breach, silent])
    assert report.drift == [breach, silent]
    assert NightProfile.read(tmp_path / "report") == NightProfile.of(ROWS)
    summary = (tmp_path / "report/summary.csv").read_text(encoding="utf-8").splitlines()
    assert summary[-2:] == [
        "drift:ks,0.5,,0.25,100,tonight against last nights,film,breach",
        "drift:all,,,,100,tonight against last nights,film,Nothing to compare with.",
    ]
    assert {"profile.json", "drift.csv"} <= names(tmp_path / "report")
    assert verify(tmp_path / "report") == []


def test_report_without_a_profile_has_no_drift_files(tmp_path: Path, key: PatientKey) -> None:
    write(tmp_path / "report", key)
    assert not {"profile.json", "drift.csv"} & names(tmp_path / "report")
