"""Tests for ``screening verify`` and for ``screening sign`` with reports."""

import shutil
from pathlib import Path

import pytest

from command import screening
from jobs import exit_codes
from makers import write_chest_film
from screening.audit import Event, write_audit
from tiny_model import write_bundle

pytest.importorskip("cryptography")

from pem_keys import write_keys


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with films, a model and their report, made once."""
    place = tmp_path_factory.mktemp("made")
    for number in range(2):
        write_chest_film(place / "films" / f"{number}.png", number)
    model = write_bundle(place / "model").path
    asked = ["run", place / "films", "--model", model, "--out", place / "report", "--settle", "0"]
    result = screening(*asked, XDG_STATE_HOME=str(place / "state"))
    assert result.exit_code == exit_codes.OK, result.output
    return place


@pytest.fixture
def model(made):
    return made / "model"


@pytest.fixture
def films(made, home):
    return shutil.copytree(made / "films", home / "films")


@pytest.fixture
def report(made, home):
    shutil.copytree(made / "report", "report")
    return Path("report")


@pytest.fixture
def keys(home):
    return write_keys(home, "ours")


def test_intact_report_is_described(report):
    result = screening("verify", report)
    assert result.exit_code == exit_codes.OK
    first, second = result.output.splitlines()
    assert first.startswith("report: intact: 2 rows, chain head ")
    for part in (", written at 20", ", by worker ", ", user ", ", host "):
        assert part in first
    assert (
        second
        == "It is not signed, so a report that was rewritten as a whole would not be detected."
    )


def test_changes_are_named_with_file_and_line(report):
    path = report / "predictions.csv"
    path.write_bytes(path.read_bytes().replace(b"NORMAL", b"ABSENT", 1))
    (report / "more.txt").touch()
    result = screening("verify", report)
    assert result.exit_code == exit_codes.ERROR
    assert result.stdout.splitlines() == [
        "more.txt: unknown: is not listed in audit.csv",
        "predictions.csv: altered: does not have the hash in audit.csv",
        "predictions.csv, line 2: row_differs: does not match the line of this film in audit.csv",
    ]
    assert result.stderr == "report is not intact; problems found: 3\n"


def test_long_list_is_truncated_and_the_rest_counted(report):
    audit = report / "audit.csv"
    write_audit(report, [Event("now", "scored", str(number)) for number in range(40)], 40)
    audit.write_bytes(audit.read_bytes().replace(b"\r\n", b"\n"))
    lines = audit.read_bytes().count(b"\n")
    result = screening("verify", report)
    assert result.exit_code == exit_codes.ERROR
    assert result.stdout.count("audit.csv, line ") == 20
    assert f"audit.csv: broken_chain: and {lines - 20} more\n" in result.stdout


def test_folder_without_audit_is_no_report(home, films):
    result = screening("verify", films)
    assert result.exit_code == exit_codes.ERROR
    assert "audit.csv: missing: is missing, so this is not a report" in result.stdout


def test_control_characters_in_names_are_escaped(report):
    (report / "\x1b[31m").touch()
    assert r"\x1b[31m: unknown" in screening("verify", report).stdout


def test_films_are_screened_again_with_films_option(report, films, model):
    asked = ["verify", report, "--films", films, "--model", model]
    result = screening(*asked, "--seed", 7, "--sample", 1)
    assert result.exit_code == exit_codes.OK
    assert "1 of 2 films were screened again (--seed 7), with the same results" in result.stdout
    assert "(--seed " in screening(*asked).stdout
    for film in films.iterdir():
        film.write_bytes(b"another")
    result = screening(*asked)
    assert result.exit_code == exit_codes.ERROR
    assert "film_changed" in result.stdout
    assert "with the same results" not in result.stdout
    assert "intact" not in result.stdout


def test_report_with_hashed_names_needs_its_key(films, model, home):
    screening("run", films, "--model", model, "--out", "hashed", "--hash-names")
    asked = ["verify", "hashed", "--films", films, "--model", model]
    assert screening(*asked).exit_code == exit_codes.OK
    (home / "state" / "screening" / "patient.key").rename(home / "kept.key")
    assert "film_missing" in screening(*asked).stdout
    assert screening(*asked, "--key", "kept.key").exit_code == exit_codes.OK


def test_model_without_films_is_a_usage_error(report, model):
    result = screening("verify", report, "--model", model)
    assert result.exit_code == exit_codes.USAGE
    assert "add --films FOLDER" in result.stderr


def test_invalid_model_is_an_error(report, films):
    result = screening("verify", report, "--films", films, "--model", films)
    assert result.exit_code == exit_codes.ERROR
    assert "is not a bundle" in result.stderr


def test_public_key_option_requires_a_valid_signature(report, keys, home):
    private, public = keys
    result = screening("verify", report, "--public-key", public)
    assert result.exit_code == exit_codes.ERROR
    assert "audit.sig: missing: is missing: the report is not signed" in result.stdout
    assert "signed" in screening("sign", report, "--key", private).stdout
    result = screening("verify", report, "--public-key", public)
    assert result.exit_code == exit_codes.OK
    assert f"Its signature matches the public key {public}." in result.stdout
    assert "Its signature was not checked" in screening("verify", report).stdout
    theirs = write_keys(home, "theirs")[1]
    result = screening("verify", report, "--public-key", theirs)
    assert result.exit_code == exit_codes.ERROR
    assert "audit.sig: forged" in result.stdout


def test_only_a_signature_detects_a_rewritten_report(report, keys):
    screening("sign", report, "--key", keys[0])
    (report / "predictions.csv").unlink()
    write_audit(report, [Event("now", "submitted", "job-1")], 0)
    assert screening("verify", report).exit_code == exit_codes.OK
    result = screening("verify", report, "--public-key", keys[1])
    assert result.exit_code == exit_codes.ERROR
    assert "audit.sig: forged" in result.stdout


def test_altered_report_is_not_signed(report, keys):
    (report / "more.txt").touch()
    result = screening("sign", report, "--key", keys[0])
    assert result.exit_code == exit_codes.ERROR
    assert "is not intact, so it was not signed: more.txt: unknown" in result.stderr
    assert not (report / "audit.sig").exists()


def test_report_can_be_signed_again(report, keys, home):
    (report / "audit.sig").write_bytes(b"damaged")
    screening("sign", report, "--key", write_keys(home, "theirs")[0])
    screening("sign", report, "--key", keys[0])
    assert screening("verify", report, "--public-key", keys[1]).exit_code == exit_codes.OK


@pytest.mark.parametrize("which", ["neither", "both"])
def test_only_a_bundle_or_a_report_is_signed(report, model, keys, home, which):
    folder = home / which
    folder.mkdir()
    if which == "both":
        shutil.copy(report / "audit.csv", folder)
        shutil.copy(model / "SHA256SUMS", folder)
    before = sorted(folder.iterdir())
    result = screening("sign", folder, "--key", keys[0])
    assert result.exit_code == exit_codes.ERROR
    assert which in result.stderr
    assert "was not signed" in result.stderr
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("command", ["run", "worker"])
def test_sign_reports_option_signs_each_report(films, model, keys, home, command):
    environment = {"SCREENING_SIGN_REPORTS": str(keys[0])}
    asked = ["--model", model, "--out", home / "report"]
    if command == "run":
        screening("run", films, *asked, **environment)
    else:
        screening("submit", films, *asked)
        screening("worker", "--drain", **environment)
    result = screening("verify", home / "report", "--public-key", keys[1])
    assert result.exit_code == exit_codes.OK, result.output


@pytest.mark.parametrize("command", ["run", "worker", "watch"])
def test_invalid_key_is_detected_before_anything_is_enqueued(store, films, model, keys, command):
    words = ["--drain"] if command == "worker" else [films, "--model", model]
    result = screening(command, *words, "--sign-reports", keys[1])
    assert result.exit_code == exit_codes.ERROR
    assert "is not a private key" in result.stderr
    assert store.jobs() == []
