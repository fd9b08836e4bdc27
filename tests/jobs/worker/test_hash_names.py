"""Jobs with hashed names do not reveal file names."""

import pytest

from jobs.errors import JobsError
from jobs.worker.job_run import LEASE, run_job
from makers import write_film
from queue_makers import SerialEngine, Witness, make_job, make_tools, table
from screening.files import discover
from screening.results import read_rows


@pytest.fixture
def job(store, folder):
    """A claimed job for three films of one person, two of them identical."""
    for number in range(2):
        write_film(folder / "Doe" / f"{number} Jane.png", seed=number)
    write_film(folder / "Doe" / "2 Jane.png", seed=0)
    store.add(make_job(folder=folder, hash_names=True))
    return store.claim("A", LEASE)


def text_of(report):
    return "".join(path.read_text(encoding="utf-8") for path in report.iterdir())


def test_report_has_hashed_names_in_order_of_films(store, job, screener, folder):
    names = [found.film for found in discover(folder)]
    run_job(job, make_tools(store, screener))
    rows = read_rows(job.report / "predictions.csv")
    assert [row.film for row in rows] == [screener.key.film(name) for name in names]
    assert rows[2].reason.detail == rows[0].film
    assert "Jane" not in text_of(job.report)


def test_queue_has_real_names(store, job, screener, folder):
    run_job(job, make_tools(store, screener))
    assert [row.film for row in store.rows(job)] == [found.film for found in discover(folder)]


def test_labels_match_real_names(store, folder, screener, tmp_path):
    write_film(folder / "Doe" / "Jane.png", seed=1)
    write_film(folder / "Roe.png", seed=2)
    labels = tmp_path / "Doe.csv"
    labels.write_text("film,label\nDoe/Jane.png,1\nRoe.png,0\n")
    store.add(make_job(folder=folder, hash_names=True, labels=labels))
    job = store.claim("A", LEASE)
    run_job(job, make_tools(store, screener))
    rows = {row.film: row.label for row in read_rows(job.report / "predictions.csv")}
    key = screener.key
    assert rows == {key.film("Doe/Jane.png"): "PNEUMONIA", key.film("Roe.png"): "NORMAL"}
    (line,) = [line for line in table(job.report / "audit.csv") if line["event"] == "labels"]
    assert line["subject"] == key.film("Doe.csv")
    assert "Doe" not in text_of(job.report)


class LateFilm(Witness):
    """Adds a film after the job has started."""

    def __init__(self, folder):
        super().__init__()
        self._folder = folder

    def started(self, job, films, left):
        super().started(job, films, left)
        write_film(self._folder / "Doe" / "late.png", seed=50)


def test_late_films_have_hashed_names(store, job, screener, folder):
    run_job(job, make_tools(store, screener, watcher=LateFilm(folder)))
    audit = table(job.report / "audit.csv")
    late = [line["subject"] for line in audit if line["event"] == "arrived_late"]
    assert late == [screener.key.film("Doe/late.png")]
    assert "Doe" not in text_of(job.report)


class RepeatingEngine(SerialEngine):
    """Screens the first film again at the end."""

    def screen(self, screener, films, seen, batch):
        films = list(films)
        yield from super().screen(screener, [*films, films[0]], seen, batch)


def test_error_about_film_does_not_name_it(store, job, screener):
    tools = make_tools(store, screener, engine=RepeatingEngine())
    with pytest.raises(JobsError, match="a film is not an open film of job job-1"):
        run_job(job, tools)
