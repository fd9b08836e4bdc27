import csv
from dataclasses import replace
from pathlib import Path

import pytest

from screening.audit import AUDIT, KEYED, Event, read_audit, target_of
from screening.errors import KeyFileError, LabelsError, ReportError
from screening.inference.report_images import ReportImages, place_of
from screening.privacy import PatientKey
from screening.report.evaluate import evaluate
from screening.report.labels import Labels, Policy
from screening.report.verification import verify
from screening.report.writer import Night, write_report
from screening.results import Reason, Row, Status, read_rows

AT = "2026-01-01T00:00:00.000+00:00"
LABELS = "film,label,patient\na/1.png,1,P\n2.png,0,P\n1.2.3,1,Q\nlost.png,1,\nbroken.png,1,R\n"


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figures: they take most of the time, and other tests check them."""
    monkeypatch.setattr("screening.report.html.report_page.draw_figures", lambda *_arguments: {})


def scored(film: str, probability: float, **fields: str) -> Row:
    prediction = ["NORMAL", "PNEUMONIA"][probability >= 0.5]
    return Row(
        film=film,
        sha256=f"{probability:.6f}",
        status=Status.SCORED,
        probability=probability,
        prediction=prediction,
        threshold=0.5,
        screened_at=AT,
        **fields,
    )


def rows(key: PatientKey) -> list[Row]:
    return [
        scored("a/1.png", 0.9, view="PA"),
        scored("b/2.png", 0.700001, view="PA"),
        scored("b/3.dcm", 0.1, instance=key.hash("instance", "1.2.3"), patient="header"),
        scored("b/4.png", 1 / 3),
        Row(film="broken.png", status=Status.FAILED, reason=Reason("empty"), screened_at=AT),
    ]


def labels(tmp_path: Path, content: str = LABELS, policy: Policy = Policy.ERROR) -> Labels:
    path = tmp_path / "later.csv"
    path.write_text(content, encoding="utf-8")
    return Labels.read(path, policy)


def report(folder: Path, key: PatientKey, **given: object) -> Path:
    started = Event(AT, "started", "job-1", {"target": "onnx-int8"})
    events = [Event(AT, "submitted", "job-1"), started, Event(AT, KEYED, key.fingerprint)]
    write_report(folder, Night(rows=rows(key), events=events, key=key, **given))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_evaluation_equals_a_report_written_with_the_labels(
    tmp_path: Path, key: PatientKey
) -> None:
    given = labels(tmp_path)
    at_once = report(tmp_path / "at once", key, labels=given, prevalence=0.1)
    without = report(tmp_path / "without", key)
    evaluate(without, given, key, tmp_path / "later", 0.1)
    for name in ("predictions.csv", "summary.csv", "operating_points.csv", "labels.csv"):
        assert (tmp_path / "later" / name).read_bytes() == (at_once / name).read_bytes(), name


def test_evaluation_finds_hidden_names_by_path(tmp_path: Path, key: PatientKey) -> None:
    content = LABELS.replace("2.png", "b/2.png")
    given = labels(tmp_path, content)
    at_once = report(tmp_path / "at once", key, labels=given, shown_name=key.film)
    evaluate(report(tmp_path / "x", key, shown_name=key.film), given, key, tmp_path / "later")
    for name in ("predictions.csv", "summary.csv", "labels.csv"):
        assert (tmp_path / "later" / name).read_bytes() == (at_once / name).read_bytes(), name


def test_evaluation_drops_the_reports_labels(tmp_path: Path, key: PatientKey) -> None:
    first = report(tmp_path / "first", key, labels=labels(tmp_path, "film,label\nb/4.png,0\n"))
    evaluate(first, labels(tmp_path, "film,label\na/1.png,1\n"), key, tmp_path / "later")
    assert [row.label for row in read_rows(tmp_path / "later/predictions.csv")] == [
        "PNEUMONIA",
        *[""] * 4,
    ]


def test_evaluation_audit_starts_with_the_reports_chain_head(
    tmp_path: Path, key: PatientKey
) -> None:
    first = report(tmp_path / "first", key)
    evaluate(first, labels(tmp_path), key, tmp_path / "later")
    head = read_audit((first / AUDIT).read_bytes()).head
    with (tmp_path / "later" / AUDIT).open(newline="", encoding="utf-8") as file:
        begun = next(csv.DictReader(file))
    assert (begun["event"], begun["subject"], begun["sha256"]) == ("evaluates", "first", head)
    assert begun["detail"] == "target=onnx-int8"
    assert verify(tmp_path / "later") == []


def test_evaluation_can_be_evaluated_again(tmp_path: Path, key: PatientKey) -> None:
    evaluate(report(tmp_path / "a", key), labels(tmp_path), key, tmp_path / "b")
    evaluate(tmp_path / "b", labels(tmp_path), key, tmp_path / "c")
    summaries = [(tmp_path / name / "summary.csv").read_bytes() for name in ("b", "c")]
    assert summaries[0] == summaries[1]
    assert target_of(read_audit((tmp_path / "c" / AUDIT).read_bytes()).events) == "onnx-int8"


def test_evaluation_does_not_change_the_report(tmp_path: Path, key: PatientKey) -> None:
    first = report(tmp_path / "first", key)
    before = contents(first)
    evaluate(first, labels(tmp_path), key, tmp_path / "later")
    assert contents(first) == before


def test_evaluation_does_not_copy_pictures(tmp_path: Path, key: PatientKey) -> None:
    place = place_of("ab" * 32)
    gallery = ReportImages(tmp_path / ".aside")
    gallery.keep({place: b"picture"})
    drawn = [replace(rows(key)[0], heatmap=place)]
    night = Night(rows=drawn, events=[Event(AT, "submitted", "job-1")], key=key, gallery=gallery)
    write_report(tmp_path / "first", night)
    evaluate(tmp_path / "first", labels(tmp_path), key, tmp_path / "later")
    assert [row.heatmap for row in read_rows(tmp_path / "later/predictions.csv")] == [""]
    assert verify(tmp_path / "later") == []


@pytest.mark.parametrize("name", ["predictions.csv", "summary.csv", "audit.csv"])
def test_altered_report_is_not_evaluated(tmp_path: Path, key: PatientKey, name: str) -> None:
    first = report(tmp_path / "first", key)
    content = (first / name).read_bytes()
    (first / name).write_bytes(content.replace(b"0", b"1", 1))
    with pytest.raises(ReportError, match=f"not intact.*{name}"):
        evaluate(first, labels(tmp_path), key, tmp_path / "later")
    assert not (tmp_path / "later").exists()


def test_folder_that_is_not_a_report_is_an_error_that_names_it(
    tmp_path: Path, key: PatientKey
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ReportError, match="folder"):
        evaluate(tmp_path / "folder", labels(tmp_path), key, tmp_path / "later")


def test_unusable_labels_leave_no_evaluation(tmp_path: Path, key: PatientKey) -> None:
    first = report(tmp_path / "first", key)
    with pytest.raises(LabelsError, match="line 3"):
        evaluate(first, labels(tmp_path, "film,label\n2.png,1\n2.png,1\n"), key, tmp_path / "later")
    assert not (tmp_path / "later").exists()


@pytest.mark.parametrize("other", [None, PatientKey(b"x" * 32)], ids=["no key", "another key"])
def test_films_are_found_only_by_name_without_the_reports_key(
    tmp_path: Path, key: PatientKey, other: PatientKey | None
) -> None:
    first = report(tmp_path / "first", key)
    given = labels(tmp_path, "film,label\na/1.png,1\n1.2.3,1\n")
    made = evaluate(first, given, other, tmp_path / "later")
    assert [row.label for row in made.rows] == ["PNEUMONIA", *[""] * 4]
    assert [one.line for one in made.unused or ()] == [3]


@pytest.mark.parametrize("other", [None, PatientKey(b"x" * 32)], ids=["no key", "another key"])
def test_labels_with_patients_need_the_reports_key(
    tmp_path: Path, key: PatientKey, other: PatientKey | None
) -> None:
    with pytest.raises(KeyFileError, match="--key"):
        evaluate(report(tmp_path / "first", key), labels(tmp_path), other, tmp_path / "later")
