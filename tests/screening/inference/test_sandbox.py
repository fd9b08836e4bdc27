"""A decoder that hangs, crashes or exhausts memory fails only its own film."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from makers import dicom_bytes, dicom_film, encoded, grey_film, make_card
from sabotage import children, end, is_running, jpeg_ls_film, saboteur
from screening.errors import DecoderError
from screening.files import Found, discover
from screening.imaging.film import DecodeLimits
from screening.inference.reader import Reader, ReadFilm
from screening.inference.sandbox import IsolatedReader
from screening.results import Status

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

PREPROCESSING = make_card().preprocessing

#: A program that reads the films named on its stdin, and prints their status.
PARENT = """
import sys
from pathlib import Path
from makers import make_card
from screening.files import Found
from screening.inference.sandbox import IsolatedReader
from screening.imaging.film import DecodeLimits
limits = DecodeLimits(seconds=float(sys.argv[2]))
reader = IsolatedReader(Path(sys.argv[1]), make_card().preprocessing, limits)
for line in sys.stdin:
    print(reader.read(Found(line.strip(), 1)).status, flush=True)
reader.close()
"""

Start = Callable[..., IsolatedReader]


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    before = children(os.getpid())
    yield
    left = children(os.getpid()) - before
    for pid in left:
        end(pid)
    assert not left


@pytest.fixture
def sabotaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", saboteur(tmp_path / "sabotage"))


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start readers of `folder`, which are closed afterwards."""
    readers = []

    def started(**limits: float) -> IsolatedReader:
        readers.append(IsolatedReader(folder, PREPROCESSING, DecodeLimits(**limits)))
        return readers[-1]

    yield started
    for reader in readers:
        reader.close()


def write(folder: Path, name: str, what: str = "", seed: int = 1) -> Found:
    data = jpeg_ls_film(grey_film(seed), what)
    (folder / name).write_bytes(data)
    return Found(name, len(data))


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for another process, with a timeout that suffices on a slow machine."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_isolated_reading_gives_the_same_result_as_local_reading(
    start: Start, folder: Path
) -> None:
    found = write(folder, "a.dcm")
    here = Reader(folder, PREPROCESSING).read(found)
    there = start().read(found)
    assert (there.tensor == here.tensor).all()
    assert there.header == here.header
    assert (there.sha256, there.tensor_sha256) == (here.sha256, here.tensor_sha256)
    assert (there.status, there.reason, there.warnings) == (Status.SCORED, None, ())


@pytest.mark.parametrize("name", ["a.png", "a.jpeg", "notes.txt", "empty.dcm", "gone.dcm"])
def test_plain_files_and_non_films_need_no_child_process(
    start: Start, folder: Path, name: str
) -> None:
    contents = {
        "a.png": encoded(grey_film(1)),
        "a.jpeg": encoded(grey_film(1), "JPEG"),
        "notes.txt": b"hello",
        "empty.dcm": b"",
    }
    if name in contents:
        (folder / name).write_bytes(contents[name])
    start().read(Found(name, 1))
    assert children(os.getpid()) == set()


def test_one_child_process_reads_many_films(start: Start, folder: Path) -> None:
    reader = start()
    seen = set()
    for seed in range(3):
        assert reader.read(write(folder, f"{seed}.dcm", seed=seed)).status is Status.SCORED
        seen |= children(os.getpid())
    assert len(seen) == 1


@pytest.mark.usefixtures("sabotaged")
@pytest.mark.parametrize(
    ("what", "seconds", "reason"),
    [
        ("hang", 1, "decode_timeout: The decoder was stopped because it took too long (1 s are"),
        ("loop", 1, "decode_timeout: "),
        ("sleep", 1, "decode_timeout: "),
        ("abort", 60, "decoder_crashed: The decoder crashed (SIGABRT)."),
        (f"{signal.SIGSEGV:d}", 60, "decoder_crashed: The decoder crashed (SIGSEGV)."),
        (f"{signal.SIGRTMIN + 5:d}", 60, "decoder_crashed: The decoder crashed (signal 39)."),
        (f"{signal.SIGKILL:d}", 60, "out_of_memory: Decoding needs more memory than the limit ("),
        ("memory", 60, "out_of_memory: Decoding needs more memory than the limit (4,096 MiB are"),
        ("exit", 60, "decoder_crashed: The decoder crashed (exit code 3)."),
        ("garbage", 60, "decoder_crashed: The decoder crashed (it gave no valid answer)."),
    ],
)
def test_failed_decoder_is_replaced_for_the_next_film(
    start: Start, folder: Path, what: str, seconds: float, reason: str
) -> None:
    reader = start(seconds=seconds)
    evil, good = write(folder, "evil.dcm", what), write(folder, "good.dcm", seed=2)
    film = reader.read(evil)
    assert film.status is Status.FAILED
    assert str(film.reason).startswith(reason)
    assert film.tensor is None
    assert film.sha256 == hashlib.sha256((folder / "evil.dcm").read_bytes()).hexdigest()
    assert film.seconds > 0
    assert children(os.getpid()) == set()
    # A time limit that is short for decoding is long enough to detect a hang.
    assert start(seconds=60).read(good).status is Status.SCORED
    assert reader.read(write(folder, "notes.dcm", "exit")).reason.detail == "exit code 3"


@pytest.mark.usefixtures("sabotaged")
def test_output_of_a_decoder_does_not_corrupt_its_result(start: Start, folder: Path) -> None:
    chatty, quiet = write(folder, "chatty.dcm", "print"), write(folder, "quiet.dcm", seed=2)
    reader = start()
    assert [reader.read(found).status for found in (chatty, quiet)] == [Status.SCORED] * 2
    assert reader.read(chatty).tensor_sha256 != reader.read(quiet).tensor_sha256


@pytest.mark.usefixtures("sabotaged")
def test_decoder_crashes_do_not_affect_other_threads(start: Start, folder: Path) -> None:
    for number in range(24):
        write(folder, f"{number:02}.dcm", ("", "abort", "", "exit", "")[number % 5], seed=number)
    films = discover(folder)
    reader = start()
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(reader.read, films))
    assert [film.film for film in read] == [found.film for found in films]
    failed = [film.film for film in read if film.status is Status.FAILED]
    assert failed == [f"{number:02}.dcm" for number in range(24) if number % 5 in (1, 3)]
    assert len({film.tensor_sha256 for film in read if film.tensor is not None}) == 14


def test_threads_with_few_films_share_one_child_process(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine, the first film waits for imports for longer than the default patience.
    monkeypatch.setattr("screening.inference.sandbox._PATIENCE", 60)
    films = [write(folder, f"{seed}.dcm", seed=seed) for seed in range(8)]
    reader = start()
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(reader.read, films))
    assert {film.status for film in read} == {Status.SCORED}
    assert len(children(os.getpid())) == 1


@pytest.mark.usefixtures("sabotaged")
@pytest.mark.parametrize(
    ("worth", "patience"), [(0, 600), (16, 0.1)], ids=["many films", "few films"]
)
def test_other_threads_do_not_wait_for_a_hanging_decoder(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch, worth: int, patience: float
) -> None:
    monkeypatch.setattr("screening.inference.sandbox._WORTH", worth)
    monkeypatch.setattr("screening.inference.sandbox._PATIENCE", patience)
    reader = start(seconds=600)
    hanging, other = write(folder, "a.dcm", "hang"), write(folder, "b.dcm", seed=2)
    thread = threading.Thread(target=reader.read, args=[hanging])
    thread.start()
    wait_until(lambda: children(os.getpid()), "no child is started")
    assert reader.read(other).status is Status.SCORED
    assert len(children(os.getpid())) == 2
    reader.close()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.usefixtures("sabotaged")
def test_closing_a_reader_does_not_wait_for_its_decoders(start: Start, folder: Path) -> None:
    reader = start(seconds=600)
    found = write(folder, "a.dcm", "hang")
    read: list[ReadFilm] = []
    thread = threading.Thread(target=lambda: read.append(reader.read(found)))
    thread.start()
    wait_until(lambda: children(os.getpid()), "no child is started")
    reader.close()
    thread.join(60)
    assert not thread.is_alive()
    assert [film.status for film in read] == [Status.FAILED]


def test_closed_reader_raises(start: Start, folder: Path) -> None:
    reader = start()
    found = write(folder, "a.dcm")
    reader.read(found)
    reader.close()
    reader.close()
    with pytest.raises(DecoderError, match="this reader is closed"):
        reader.read(found)


def test_error_of_a_failed_start_says_how_to_diagnose(
    start: Start, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", saboteur(tmp_path / "sabotage", start="never"))
    with pytest.raises(DecoderError, match=r"can be started; to see why, run `.*`"):
        start().read(write(folder, "a.dcm"))


def test_missing_executable_is_a_decoder_error(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(DecoderError, match="can be started: No such file"):
        start().read(write(folder, "a.dcm"))


@pytest.fixture
def parent(folder: Path, tmp_path: Path) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """Start another program, a process group leader, that reads the films of `folder`."""
    tests = Path(__file__).parents[2] / "support"
    environment = os.environ | {"PYTHONPATH": f"{saboteur(tmp_path / 'sabotage')}:{tests}"}
    started = []

    def begun(seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PARENT, str(folder), str(seconds)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen(
            command, env=environment, text=True, start_new_session=True, **pipes
        )
        started.append(process)
        return process

    yield begun
    for process in started:
        process.kill()
        process.communicate()


def ask(parent: subprocess.Popen[str], name: str) -> None:
    assert parent.stdin is not None
    parent.stdin.write(name + "\n")
    parent.stdin.flush()


def answer(parent: subprocess.Popen[str]) -> str:
    assert parent.stdout is not None
    return parent.stdout.readline().strip()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stop_signal_to_the_group_does_not_end_decoders(
    parent, folder: Path, stop: signal.Signals
) -> None:
    write(folder, "a.dcm")
    process = parent(60)
    ask(process, "a.dcm")
    assert answer(process) == "scored"
    (child,) = children(process.pid)
    os.kill(child, stop)
    ask(process, "a.dcm")
    assert answer(process) == "scored"
    assert children(process.pid) == {child}
    assert process.communicate() == ("", "")


def test_idle_decoder_exits_when_its_parent_is_killed(parent, folder: Path) -> None:
    write(folder, "a.dcm")
    process = parent(60)
    ask(process, "a.dcm")
    answer(process)
    (child,) = children(process.pid)
    process.kill()
    wait_until(lambda: not is_running(child), "the decoder goes on without its parent")


def test_hanging_decoder_exits_when_its_parent_is_killed(
    parent, folder: Path, tmp_path: Path
) -> None:
    write(folder, "a.dcm", "hang")
    process = parent(1)
    ask(process, "a.dcm")
    wait_until((tmp_path / "sabotage" / "began hang").exists, "the decoder has not begun")
    (child,) = children(process.pid)
    process.kill()
    try:
        assert is_running(child)
        wait_until(lambda: not is_running(child), "the decoder goes on without its parent")
    finally:
        end(child)


@pytest.mark.parametrize("name", ["a.png", "a.dcm"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "link to a device"])
def test_special_file_in_place_of_a_film_does_not_block(
    start: Start, folder: Path, name: str, kind: str, special: Callable[[Path, str], None]
) -> None:
    found = write(folder, name)
    (folder / name).unlink()
    special(folder / name, kind)
    film = start().read(found)
    code = "unreadable" if kind == "folder" else "not_followed"
    assert film.reason.code == code
    assert film.sha256 == ""


def test_film_with_very_long_texts_is_read(start: Start, folder: Path) -> None:
    dataset = dicom_film(grey_film(1), ImplicitVRLittleEndian, PatientID="4711" * 500_000)
    (folder / "a.dcm").write_bytes(dicom_bytes(dataset))
    assert start().read(Found("a.dcm", 1)).status is Status.SCORED


def test_memory_error_for_a_plain_film_fails_only_the_film(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.png").write_bytes(encoded(grey_film(1)))

    def exhausted(_reader: Reader, _found: Found) -> ReadFilm:
        raise MemoryError

    monkeypatch.setattr(Reader, "read", exhausted)
    film = start().read(Found("a.png", 1))
    assert film.status is Status.FAILED
    assert film.reason.code == "out_of_memory"
    assert film.sha256 == hashlib.sha256((folder / "a.png").read_bytes()).hexdigest()


def test_many_large_pngs_are_decoded_in_a_child_process(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screening.inference.sandbox._FEW", 2)
    (folder / "a.png").write_bytes(encoded(grey_film(1)))
    reader = start()
    small, large = Found("a.png", 1000), Found("a.png", 1_000_000)
    before = children(os.getpid())
    for _ in range(5):
        reader.read(small)
    here = [reader.read(large) for _ in range(2)]
    assert children(os.getpid()) == before
    there = reader.read(large)
    assert len(children(os.getpid()) - before) == 1
    assert {film.tensor_sha256 for film in here} == {there.tensor_sha256}


def test_film_decoded_in_a_child_process_has_its_cost(start: Start, folder: Path) -> None:
    (folder / "a.dcm").write_bytes(dicom_bytes(dicom_film(grey_film(1))))
    cost = start().read(Found("a.dcm", 1)).cost
    assert min(cost.reading, cost.decoding, cost.preparing) > 0
    assert cost.inference == cost.answering == 0
