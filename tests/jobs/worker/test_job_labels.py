"""Labels of a job: checked before screening, joined to the rows."""

import pytest

from jobs.worker.job_run import run_job
from queue_makers import make_tools, table, write_films
from screening.errors import LabelsError
from screening.results import read_rows


def test_labels_are_joined_to_rows(store, claim, screener, folder, tmp_path):
    write_films(folder, 6)
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "film,label,patient\n"
        "0.png,NORMAL,Doe^Jane\n1.png,1,Roe\n4.png,0,Doe^Jane\n5.png,PNEUMONIA,\ngone.png,1,\n"
    )
    job = claim(labels=labels)
    run_job(job, make_tools(store, screener))
    rows = {row.film: row for row in read_rows(job.report / "predictions.csv")}
    outcomes = {film: row.outcome for film, row in rows.items()}
    assert outcomes == {
        "0.png": "TN",
        "1.png": "FN",
        "2.png": "",
        "3.png": "",
        "4.png": "FP",
        "5.png": "TP",
    }
    assert rows["0.png"].patient == rows["4.png"].patient != rows["1.png"].patient
    assert "Doe" not in "".join(path.read_text() for path in job.report.iterdir() if path.is_file())
    (told,) = [line for line in table(job.report / "audit.csv") if line["event"] == "labels"]
    assert told["detail"] == "labels=5 unused=1 policy=error"
    summary = {line["metric"]: line for line in table(job.report / "summary.csv")}
    assert (summary["precision"]["value"], summary["precision"]["n"]) == ("0.5", "2")


def test_conflicting_labels_are_found_before_screening(store, claim, screener, folder, tmp_path):
    write_films(folder, 2)
    labels = tmp_path / "labels.csv"
    labels.write_text("film,label\n0.png,0\n0.png,1\n")
    job = claim(labels=labels)
    with pytest.raises(LabelsError, match="line 2: another line for the same film"):
        run_job(job, make_tools(store, screener))
    assert store.rows(job) == []
    assert not job.report.exists()
    assert {path.name for path in tmp_path.iterdir()} >= {"films", "labels.csv"}
    assert not list(tmp_path.glob(".*partial"))


def test_conflicting_labels_can_be_listed(store, claim, screener, folder, tmp_path):
    write_films(folder, 2)
    labels = tmp_path / "labels.csv"
    labels.write_text("film,label\n0.png,0\n0.png,1\n1.png,0\n")
    job = claim(labels=labels, labels_policy="list")
    run_job(job, make_tools(store, screener))
    assert [row.label for row in read_rows(job.report / "predictions.csv")] == ["", "NORMAL"]
    problems = {line["line"]: line["problem"] for line in table(job.report / "labels.csv")}
    assert problems == {"2": "conflicting", "3": "conflicting"}


def test_strict_policy_is_applied_after_screening(store, claim, screener, folder, tmp_path):
    write_films(folder, 2)
    labels = tmp_path / "labels.csv"
    # It might be the UID of a film that has not been read yet.
    labels.write_text("film,label\n0.png,0\n1.2.3,1\n")
    job = claim(labels=labels, labels_policy="strict")
    with pytest.raises(LabelsError, match="line 3: there is no such film"):
        run_job(job, make_tools(store, screener))
    assert len(store.rows(job)) == 2
    assert not job.report.exists()
