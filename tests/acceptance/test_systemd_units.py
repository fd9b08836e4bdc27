"""Test the systemd units with systemd-analyze and this project's commands.

systemd itself does not have to run.
"""

import configparser
import os
import re
import shlex
import shutil
import signal
import sqlite3
import stat
import subprocess
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import click
import pandas as pd
import pytest

from jobs import exit_codes
from jobs.cli.main import cli
from makers import COMMAND, write_chest_film

UNITS = Path(__file__).parents[2] / "docker" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
TIMER = UNITS / "screening-night.timer"
FENCE = UNITS / "screening-.service.d" / "fence.conf"

#: Path of the command in the units; systemd requires it to exist.
PROGRAM = "/opt/screening/bin/screening"

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(
    ANALYZE is None, reason="systemd-analyze is missing; run: apt-get install systemd"
)


def settings(unit: Path) -> dict[str, str]:
    """Return the settings of a unit by name; none of those tested here is repeated."""
    parser = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str
    parser.read_string(unit.read_text(encoding="utf-8"))
    return {name: value for section in parser for name, value in parser[section].items()}


def words(unit: Path) -> list[str]:
    """Return the arguments with which the unit starts the program."""
    program, *rest = shlex.split(settings(unit)["ExecStart"])
    assert program.removeprefix(":") == PROGRAM
    return rest


def codes(unit: Path, setting: str) -> set[int]:
    return {int(code) for code in settings(unit).get(setting, "").split()}


def analyze(*arguments: object, **environment: str) -> str:
    """Run `systemd-analyze`, require success, and return its output."""
    result = subprocess.run(
        [ANALYZE, *map(str, arguments)],
        env=os.environ | {"LC_ALL": "C"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture
def installed(tmp_path) -> Path:
    """The units, with the tested command as their program."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    for unit in folder.glob("*.service"):
        text = unit.read_text(encoding="utf-8").replace(PROGRAM, str(COMMAND))
        unit.write_text(text, encoding="utf-8")
    return folder


@needs_systemd
@pytest.mark.parametrize("unit", [*SERVICES, TIMER], ids=lambda unit: unit.name)
def test_systemd_accepts_every_unit(unit, installed):
    assert analyze("verify", "--man=no", "--generators=no", installed / unit.name) == ""


@needs_systemd
def test_systemd_reports_an_unknown_setting(installed):
    fence = installed / FENCE.relative_to(UNITS)
    fence.write_text("[Service]\nProtectSistem=strict\n", encoding="utf-8")
    said = analyze("verify", "--man=no", "--generators=no", installed / SERVICES[0].name)
    assert "ProtectSistem" in said


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_units_have_a_low_exposure_level(unit, installed):
    # The scale goes from 0 (most restricted) to 10. 1.1 was measured; without the fence it is 9.2.
    analyze("security", "--offline=true", "--threshold=15", installed / unit.name)


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_unit_starts_an_existing_command_and_options(unit):
    name, *rest = words(unit)
    command = cli.commands[name]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options


def test_comment_shows_an_existing_command_and_options():
    text = (UNITS / "screening-worker.service").read_text(encoding="utf-8")
    [shown] = re.findall(rf"{PROGRAM} (schedule .*?)\n#\n", text, re.DOTALL)
    _group, name, *rest = shlex.split(shown.replace("\\\n#", " "))
    command = cli.commands["schedule"].commands[name]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options


def variables(command: click.Command, prefix: str) -> set[str]:
    """Return the environment variables of the options of a command and its sub-commands."""
    if isinstance(command, click.Group):
        below = [
            variables(one, f"{prefix}_{name.upper()}") for name, one in command.commands.items()
        ]
        return set().union(*below)
    own = {parameter.envvar for parameter in command.params if isinstance(parameter.envvar, str)}
    return own | {f"{prefix}_{parameter.name.upper()}" for parameter in command.params}


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_every_variable_in_a_unit_is_an_option(unit):
    named = set(re.findall(r"SCREENING_[A-Z_]+", unit.read_text(encoding="utf-8")))
    assert named <= variables(cli, "SCREENING")
    assert f"SCREENING_{words(unit)[0].upper()}_LOG" in named


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_stopped_unit_has_not_failed_and_stays_stopped(unit):
    assert exit_codes.INTERRUPTED in codes(unit, "SuccessExitStatus")
    if settings(unit)["Restart"] == "always":
        assert exit_codes.INTERRUPTED in codes(unit, "RestartPreventExitStatus")
    else:
        assert settings(unit)["Restart"] == "on-abnormal"


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_errors_and_systemic_failures_leave_a_unit_failed(unit):
    known = {code for name, code in vars(exit_codes).items() if name.isupper()}
    assert codes(unit, "SuccessExitStatus") | codes(unit, "RestartPreventExitStatus") <= known
    bad = {exit_codes.ERROR, exit_codes.USAGE, exit_codes.SYSTEMIC_FAILURE}
    assert not codes(unit, "SuccessExitStatus") & bad
    assert exit_codes.ERROR not in codes(unit, "RestartPreventExitStatus")


def test_some_failed_films_do_not_fail_the_unit():
    assert exit_codes.SOME_FAILED in codes(UNITS / "screening-night.service", "SuccessExitStatus")


def test_stop_timeout_is_long_enough_for_films_in_progress():
    from jobs.queue.jobs import Options

    most = 0.0
    for cores in range(1, 257):
        # Films that LocalEngine reads ahead; in the worst case, each of them hangs its decoder.
        films = Options.batch + 2 * cores
        most = max(most, -(-films // cores) * Options(key=Path()).limits.seconds)
    for unit in SERVICES:
        assert float(settings(unit)["TimeoutStopSec"]) > most
        assert settings(unit)["KillMode"] == "mixed"


def next_times(spec: str, zone: str, day: date, number: int) -> list[datetime]:
    """Return when systemd would start the timer after noon of `day`, in that time zone."""
    said = analyze("calendar", f"--base-time={day} 12:00", f"--iterations={number}", spec, TZ=zone)
    times = re.findall(r"\(in UTC\): \w+ (\S+ \S+) UTC", said)
    utc = [datetime.fromisoformat(at).replace(tzinfo=UTC) for at in times]
    return [at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for at in utc]


@needs_systemd
@pytest.mark.parametrize(
    ("zone", "eve"),
    [
        ("Europe/Berlin", date(2026, 3, 28)),
        ("Europe/Berlin", date(2026, 10, 24)),
        ("America/New_York", date(2026, 3, 7)),
        ("America/New_York", date(2026, 10, 31)),
        ("Europe/Athens", date(2026, 3, 28)),
        ("Europe/London", date(2028, 2, 28)),
    ],
)
def test_timer_fires_once_in_nights_with_a_clock_change(zone, eve):
    times = next_times(settings(TIMER)["OnCalendar"], zone, eve, 3)
    morning = datetime(eve.year, eve.month, eve.day, 4, 30)  # noqa: DTZ001  # local time
    assert times == [morning + timedelta(days) for days in (1, 2, 3)]


@needs_systemd
def test_systemd_omits_a_skipped_time_and_fires_once_for_a_repeated_one():
    spring, autumn = date(2026, 3, 28), date(2026, 10, 24)
    assert [at.day for at in next_times("*-*-* 02:30", "Europe/Berlin", spring, 2)] == [30, 31]
    assert [at.day for at in next_times("*-*-* 02:30", "Europe/Berlin", autumn, 2)] == [25, 26]


def test_timer_time_exists_once_a_day_in_every_time_zone():
    hour, minute = map(int, settings(TIMER)["OnCalendar"].split()[1].split(":"))
    nights = [datetime(2027, 1, 1, hour, minute) + timedelta(days) for days in range(365)]  # noqa: DTZ001
    for name in available_timezones():
        zone = ZoneInfo(name)
        # By PEP 495, these differ for skipped and for repeated times.
        assert all(
            zone.utcoffset(night) == zone.utcoffset(night.replace(fold=1)) for night in nights
        ), name


@pytest.fixture
def service(tmp_path):
    """The environment, state folder and umask of screening-worker.service."""
    said = settings(UNITS / "screening-worker.service")
    home = tmp_path / "var" / "lib"
    state = home / said["StateDirectory"]
    state.mkdir(parents=True, mode=int(said["StateDirectoryMode"], 8))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCREENING")}
    given = dict(pair.split("=") for pair in said["Environment"].replace("%S", str(home)).split())
    more = {"SCREENING_WORKER_PROCESSES": "2"}
    return {"env": kept | given | more, "umask": int(said["UMask"], 8), "cwd": tmp_path}


def rows_in(state: Path) -> int:
    connection = sqlite3.connect(f"file:{state / 'queue.sqlite'}?mode=ro", uri=True, timeout=30)
    try:
        return connection.execute("SELECT count(row) FROM films").fetchone()[0]
    finally:
        connection.close()


def test_sigterm_to_main_process_stops_all_and_next_start_continues(service, tmp_path):
    unit, state = UNITS / "screening-worker.service", tmp_path / "var" / "lib" / "screening"
    number = 60
    for job in "ab":
        for seed in range(number):
            write_chest_film(tmp_path / job / f"{seed:02}.png", seed)
        submit = [COMMAND, "submit", tmp_path / job, "--batch", "2", "--settle", "0"]
        subprocess.run(submit, **service, check=True, capture_output=True)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([COMMAND, *words(unit)], **service, stderr=subprocess.DEVNULL)

    worker = start()
    while rows_in(state) < number // 4 and worker.poll() is None:
        time.sleep(0.02)
    worker.send_signal(getattr(signal, settings(unit).get("KillSignal", "SIGTERM")))
    assert worker.wait() in codes(unit, "SuccessExitStatus")
    assert rows_in(state) < 2 * number, "the signal came too late to prove anything"

    worker = start()
    reports = tmp_path / "reports"
    while len(list(reports.glob("*/predictions.csv"))) < 2 and worker.poll() is None:
        time.sleep(0.05)
    worker.terminate()
    assert worker.wait() == exit_codes.INTERRUPTED

    for report in reports.glob("*/predictions.csv"):
        assert list(pd.read_csv(report).status) == ["scored"] * number
        assert stat.S_IMODE(report.stat().st_mode) == 0o640
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "patient.key").stat().st_mode) == 0o600
