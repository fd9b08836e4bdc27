"""With --new-only, films scored by a finished job of the same folder and bundle are skipped."""

import hashlib
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from jobs import exit_codes
from jobs.sources.submission import NewOnly, Opener
from jobs.worker.worker import work
from makers import BrightnessPredictor, write_film
from queue_makers import make_job, make_tools
from screening.files import Found, discover
from screening.inference.reader import ReadFilm
from screening.results import Reason, Status, read_rows
from tiny_model import write_bundle


@dataclass
class Remembering:
    """A reader that only records what it is asked to read."""

    folder: Path
    films: list[str] = field(default_factory=list)
    closed: bool = False

    def read(self, entry):
        self.films.append(entry.film)
        return ReadFilm(entry.film)

    def close(self):
        self.closed = True


@dataclass
class Asked:
    """Records the hashes looked up; all of them were scored before."""

    hashes: list[str] = field(default_factory=list)

    def __call__(self, sha256):
        self.hashes.append(sha256)
        return "job-1"


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_film_scored_before_is_duplicate_and_not_read(folder):
    film = write_film(folder / "0.png", seed=0)
    reader, asked = Remembering(folder), Asked()
    read = NewOnly(reader, asked).read(discover(folder)[0])
    assert (read.film, read.status, read.sha256) == ("0.png", Status.DUPLICATE, sha256_of(film))
    assert str(read.reason) == "already_screened: A finished job has scored this file (job job-1)."
    assert (read.tensor, reader.films) == (None, [])


def test_film_not_scored_before_is_read(folder):
    write_film(folder / "0.png", seed=0)
    reader = Remembering(folder)
    NewOnly(reader, lambda _sha256: "").read(discover(folder)[0])
    assert reader.films == ["0.png"]


def test_link_out_of_folder_is_never_hashed(folder, tmp_path):
    write_film(tmp_path / "outside.png", seed=0)
    (folder / "listed as a link.png").symlink_to(tmp_path / "outside.png")
    (folder / "turned.png").symlink_to(tmp_path / "outside.png")
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "outside.png", tmp_path / "other" / "0.png")
    (folder / "ward").symlink_to(tmp_path / "other")
    reader, asked = Remembering(folder), Asked()
    new = NewOnly(reader, asked)
    # The other two were files when the folder was listed.
    entries = [Found("listed as a link.png", 0, is_file=False), Found("turned.png", 9)]
    for entry in [*entries, Found("ward/0.png", 9)]:
        new.read(entry)
    assert reader.films == ["listed as a link.png", "turned.png", "ward/0.png"]
    assert asked.hashes == []


def test_vanished_film_is_left_to_reader(folder):
    reader, asked = Remembering(folder), Asked()
    NewOnly(reader, asked).read(Found("gone.png", 9))
    assert (reader.films, asked.hashes) == (["gone.png"], [])


def test_close_closes_reader(folder):
    reader = Remembering(folder)
    NewOnly(reader, Asked()).close()
    assert reader.closed


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("new-only") / "bundle")


@pytest.fixture
def screened(store, folder, bundle, tmp_path):
    """Run a job for `folder`; return its rows by film, and the number of films the model saw."""

    def carried_out(name, **changes):
        asked = {"key": tmp_path / "key", "model": bundle.path, "model_sha256": bundle.sha256}
        job = store.add(make_job(name, **{"folder": folder} | asked | changes))
        predictor, opener = BrightnessPredictor(), Opener(store.scored_before)
        tools = replace(
            make_tools(store, None),
            open_screener=lambda job: replace(opener.open(job), predictor=predictor),
        )
        (ended,) = work(tools, drain=True)
        assert ended.exit_code in (exit_codes.OK, exit_codes.SOME_FAILED), ended.message
        rows = {row.film: row for row in read_rows(job.report / "predictions.csv")}
        return rows, sum(predictor.batches)

    return carried_out


def statuses(rows):
    return {film: row.status.value for film, row in rows.items()}


def test_second_job_runs_model_on_nothing_and_succeeds(screened, store, folder):
    first, second = (write_film(folder / f"{number}.png", seed=number) for number in (0, 1))
    assert screened("job-1")[1] == 2
    rows, seen = screened("job-2", new_only=True)
    assert seen == 0
    assert statuses(rows) == {"0.png": "duplicate", "1.png": "duplicate"}
    assert [rows[film.name].sha256 for film in (first, second)] == [
        sha256_of(first),
        sha256_of(second),
    ]
    assert {row.reason for row in rows.values()} == {Reason("already_screened", "job job-1")}
    assert {row.probability for row in rows.values()} == {None}
    assert store.get("job-2").exit_code == exit_codes.OK


def test_without_new_only_films_are_screened_again(screened, folder):
    write_film(folder / "0.png", seed=0)
    screened("job-1")
    assert screened("job-2")[1] == 1


def test_changed_and_new_films_are_screened(screened, folder):
    for number in range(3):
        write_film(folder / f"{number}.png", seed=number)
    screened("job-1")
    write_film(folder / "1.png", seed=11)
    write_film(folder / "new.png", seed=12)
    rows, seen = screened("job-2", new_only=True)
    assert seen == 2
    assert statuses(rows) == {
        "0.png": "duplicate",
        "1.png": "scored",
        "2.png": "duplicate",
        "new.png": "scored",
    }


def test_renamed_film_is_known(screened, folder):
    write_film(folder / "0.png", seed=0)
    screened("job-1")
    (folder / "0.png").rename(folder / "renamed.png")
    rows, seen = screened("job-2", new_only=True)
    assert (statuses(rows), seen) == ({"renamed.png": "duplicate"}, 0)


def test_third_job_names_first(screened, folder):
    write_film(folder / "0.png", seed=0)
    for name in ("job-1", "job-2"):
        screened(name, new_only=True)
    rows, seen = screened("job-3", new_only=True)
    assert rows["0.png"].reason.detail == "job job-1"
    assert seen == 0


def test_other_folder_and_other_bundle_do_not_count(screened, folder, tmp_path):
    write_film(folder / "0.png", seed=0)
    screened("job-1")
    shutil.copytree(folder, tmp_path / "copy")
    other = write_bundle(tmp_path / "other bundle", shift=0.25)
    assert screened("job-2", new_only=True, folder=tmp_path / "copy")[1] == 1
    changes = {"model": other.path, "model_sha256": other.sha256}
    assert screened("job-3", new_only=True, **changes)[1] == 1


def test_failed_and_refused_films_are_read_again(screened, folder):
    (folder / "empty.png").touch()
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "notes.txt").write_text("not a film")
    expected = {"broken.png": "failed", "empty.png": "failed", "notes.txt": "refused"}
    assert statuses(screened("job-1")[0]) == expected
    assert statuses(screened("job-2", new_only=True)[0]) == expected


def test_unfinished_jobs_do_not_count(screened, store, folder, bundle):
    write_film(folder / "0.png", seed=0)
    rows, _seen = screened("job-1")
    store.add(make_job("job-2", folder, model_sha256=bundle.sha256))
    half = store.claim("A", 60)
    store.list_films(half, discover(folder), [])
    store.commit(half, list(rows.values()), 60)
    store.prune("9999")
    store.finish(half, exit_codes.SYSTEMIC_FAILURE)
    assert screened("job-3", new_only=True)[1] == 1


def test_hashed_names_hide_file_names_in_reason(screened, folder):
    write_film(folder / "Doe^Jane.png", seed=0)
    screened("job-1")
    rows, _seen = screened("job-2", new_only=True, hash_names=True)
    (row,) = rows.values()
    assert row.status is Status.DUPLICATE
    assert "Doe" not in repr(row)
