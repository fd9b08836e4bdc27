"""Tests of runs on a device: resumption after a power loss, and watching a folder."""

import csv
import json
import threading
import time
import zlib

import pytest

from exports.edge.run import EdgeRun, is_whole, journal_of, report_images_of
from exports.runtimes.load import load
from makers import write_film
from screening.errors import ReportError
from screening.files import discover
from screening.inference.pipeline import Screener
from screening.inference.sandbox import IsolatedReader
from screening.privacy import PatientKey
from screening.report.verification import verify
from screening.results import Status, read_rows
from tiny_model import WITH_MAP, write_bundle


class PowerLoss(BaseException):
    """An exception that no code catches."""


class FailingReader(IsolatedReader):
    """Reads `left` films and then simulates a power loss."""

    left = 10**9

    def read(self, found):
        self.left -= 1
        if self.left < 0:
            raise PowerLoss
        return super().read(found)


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle", outputs=WITH_MAP)


@pytest.fixture
def films(folder):
    for number in range(20):
        write_film(folder / f"{number:02}.png", seed=number, brightness=0.25 + number / 40)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "report"


@pytest.fixture
def night(bundle, films, out):
    """A function that makes a run; the power fails after `left` films."""
    made = []

    def make(left=10**9, secret=bytes(32), heatmaps=False, **options):
        reader = FailingReader(films, bundle.card.preprocessing)
        reader.left = left
        made.append(
            Screener(
                reader,
                bundle.card,
                bundle.sha256,
                load(bundle.path),
                PatientKey(secret),
                gallery=report_images_of(out) if heatmaps else None,
            )
        )
        return EdgeRun(made[-1], out, **options)

    yield make
    for screener in made:
        screener.close()


def plain(rows):
    """Rows without times."""
    return [row.as_dict() | {"screened_at": "", "seconds": 0} for row in rows]


def events(out):
    with (out / "audit.csv").open(newline="") as file:
        return [(line["event"], line["subject"]) for line in csv.DictReader(file)]


def test_run_resumes_after_a_power_loss(night, out):
    with pytest.raises(PowerLoss):
        night(left=19).carry_out()
    assert not out.exists()
    assert journal_of(out).exists()
    second = night(left=4)
    rows = second.carry_out()
    assert second.screener.reader.left == 0
    assert [row.film for row in rows] == [f"{number:02}.png" for number in range(20)]
    assert read_rows(out / "predictions.csv") == rows
    assert not journal_of(out).exists()
    assert verify(out) == []
    said = [event for event, _subject in events(out)]
    assert said == ["started", "keyed", "resumed", *["scored"] * 20, "written"]


def test_resumed_run_has_the_same_rows_as_an_uninterrupted_one(night, out, tmp_path, films):
    (films / "copy.png").write_bytes((films / "03.png").read_bytes())
    (films / "99.txt").write_text("no film")
    undisturbed = night().carry_out()
    out.rename(tmp_path / "undisturbed")
    for _loss in range(2):
        with pytest.raises(PowerLoss):
            night(left=9).carry_out()
    assert plain(night().carry_out()) == plain(undisturbed)
    statuses = {row.film: row.status for row in undisturbed}
    assert (statuses["copy.png"], statuses["99.txt"]) == (Status.DUPLICATE, Status.REFUSED)


def test_resumed_run_keeps_the_list_and_reports_late_films(night, films, out):
    with pytest.raises(PowerLoss):
        night(left=9).carry_out()
    write_film(films / "00b.png", 99)
    (films / "19.png").unlink()
    rows = {row.film: row for row in night().carry_out()}
    assert len(rows) == 20
    assert rows["19.png"].reason.code == "vanished"
    assert ("arrived_late", "00b.png") in events(out)


def test_journal_without_modification_times_can_be_resumed(night, out):
    with pytest.raises(PowerLoss):
        night(left=9).carry_out()
    first, *others = journal_of(out).read_bytes().split(b"\n")
    line = json.loads(first.partition(b" ")[2])
    for found in line["begun"]["listed"]:
        assert found.pop("modified_ns")
    body = json.dumps(line).encode("ascii")
    journal_of(out).write_bytes(b"\n".join([b"%08x %s" % (zlib.crc32(body), body), *others]))
    again = night(left=12)
    assert len(again.carry_out()) == 20
    assert ("resumed", "job") in events(out)


def test_heatmaps_from_before_a_power_loss_are_in_the_report(night, out):
    with pytest.raises(PowerLoss):
        night(left=17, heatmaps=True).carry_out()
    rows = night(heatmaps=True).carry_out()
    assert {path.name for path in (out / "heatmaps").iterdir()} == {
        row.heatmap.partition("/")[2] for row in rows
    }
    assert {path.name for path in out.parent.iterdir()} == {"bundle", "films", "report"}


@pytest.mark.parametrize("other", [{"heatmaps": True}, {"secret": bytes(31) + b"1"}])
def test_journal_of_other_options_or_key_is_not_resumed(night, out, other):
    with pytest.raises(PowerLoss):
        night(left=9).carry_out()
    with pytest.raises(ReportError, match="journal of an earlier run"):
        night(**other).carry_out()
    assert len(night().carry_out()) == 20
    assert is_whole(out)


def test_run_without_rows_leaves_no_files(night, out):
    with pytest.raises(PowerLoss):
        night(left=3).carry_out()
    assert {path.name for path in out.parent.iterdir()} == {"bundle", "films"}


def test_unwritable_report_keeps_the_rows(night, out):
    with pytest.raises(PowerLoss):
        night(left=9).carry_out()
    blocked = night()
    out.mkdir()
    (out / "from yesterday").touch()
    with pytest.raises(ReportError, match=r"report cannot be written: .*all results are kept"):
        blocked.carry_out()
    (out / "from yesterday").unlink()
    out.rmdir()
    again = night(left=0)
    assert len(again.carry_out()) == 20


class Watched:
    """A run in a separate thread, and its output."""

    def __init__(self, night):
        self.said = []
        self.stop = threading.Event()
        self.rows = None
        made = night(watch=True, settle=0.2, say=self.said.append, stop=self.stop)
        self.thread = threading.Thread(target=self._run, args=[made])
        self.thread.start()

    def _run(self, night):
        self.rows = night.carry_out()

    def wait_for(self, films):
        """Wait until this many films were reported, at most a minute; return their names."""
        deadline = time.monotonic() + 60
        while len(self.said) < films and time.monotonic() < deadline:
            time.sleep(0.02)
        return [json.loads(line)["film"] for line in self.said]

    def end(self):
        self.stop.set()
        self.thread.join(60)
        return self.rows


@pytest.fixture
def watched(night):
    made = []

    def start():
        made.append(Watched(night))
        return made[-1]

    yield start
    for one in made:
        one.end()


def test_watch_screens_each_new_film_once_and_writes_a_report(watched, night, films, out):
    one = watched()
    assert len(one.wait_for(20)) == 20
    write_film(films / "study" / "20.png", 77)
    assert one.wait_for(21)[-1] == "study/20.png"
    rows = one.end()
    assert [row.film for row in rows] == [found.film for found in discover(films)]
    assert read_rows(out / "predictions.csv") == rows
    assert verify(out) == []


def test_watch_waits_for_a_film_that_is_being_written(watched, films):
    whole = (films / "03.png").read_bytes()
    one = watched()
    for end in range(0, len(whole), len(whole) // 12):
        (films / "slow.png").write_bytes(whole[:end])
        time.sleep(0.05)
    (films / "slow.png").write_bytes(whole + b" ")
    assert one.wait_for(21)[-1] == "slow.png"
    (row,) = [row for row in one.end() if row.film == "slow.png"]
    assert row.status is Status.SCORED


def test_watch_resumes_after_a_power_loss(watched, night, films, out):
    with pytest.raises(PowerLoss):
        night(left=9, watch=True, settle=0.0).carry_out()
    one = watched()
    assert len(one.wait_for(12)) == 12
    assert len(one.end()) == 20


def test_films_not_settled_when_a_watch_ends_are_late(night, out):
    stop = threading.Event()
    threading.Timer(1, stop.set).start()
    assert night(watch=True, settle=1000, stop=stop).carry_out() == []
    assert [subject for event, subject in events(out) if event == "arrived_late"] == [
        f"{number:02}.png" for number in range(20)
    ]
