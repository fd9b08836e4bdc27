from screening.audit import Event
from screening.report.html.contents import job_facts
from screening.results import Row, Status

AT = "2026-01-02T03:04:05.678+00:00"


def test_job_facts_come_from_events_and_rows() -> None:
    events = [
        Event(AT, "submitted", "job-1", {"user": "ada", "host": "ward-3"}),
        Event(AT, "started", "job-1", {"threshold": "0.5", "user": "bob, host x", "host": "h"}),
        Event(AT, "listed", "job-1", {"files": "2", "folder": "/data/a, b"}),
        Event(AT, "labels", "l.csv", {"labels": "3", "unused": "1", "policy": "error"}),
    ]
    rows = [Row(film="a", status=Status.SCORED, model="lite0 1", threshold=0.25, runtime="onnx")]
    facts = job_facts(events, rows, AT)
    assert facts["Folder"] == "/data/a, b"
    assert (facts["User"], facts["Host"]) == ("bob, host x", "h")
    assert facts["Labels"] == "3 labels, 1 not used, policy error"
    assert facts["Started (UTC)"] == facts["Finished (UTC)"] == "2026-01-02 03:04:05"
    assert (facts["Job"], facts["Model"], facts["Threshold"]) == ("job-1", "lite0 1", "0.25")


def test_evaluation_names_its_report() -> None:
    facts = job_facts([Event(AT, "evaluates", "night", {}, "ab" * 32)], [], AT)
    assert facts["Evaluation of"] == "night, chain head abababababababab"


def test_unknown_facts_are_left_out() -> None:
    assert job_facts([], [], "") == {}
