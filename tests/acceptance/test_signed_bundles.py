"""Test a site that accepts only bundles that it has signed itself."""

import json
import shutil
import subprocess

import pytest

from exports.bundle import SHIPPED
from makers import write_chest_film
from screening.results import read_rows


@pytest.fixture
def place(tmp_path):
    """A bundle, a key pair and a film."""
    if not shutil.which("openssl"):
        pytest.skip("this system has no openssl")
    shutil.copytree(SHIPPED, tmp_path / "bundle")
    for words in (
        ["genpkey", "-algorithm", "ed25519", "-out", "private.pem"],
        ["pkey", "-in", "private.pem", "-pubout", "-out", "public.pem"],
    ):
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)
    write_chest_film(tmp_path / "films" / "film.png", 0)
    return tmp_path


def test_signed_bundle_is_accepted_until_it_is_altered(place, screening):
    def run(out, code):
        words = ["run", place / "films", "--model", place / "bundle", "--out", place / out]
        words += ["--queue", place / "queue.sqlite"]
        return screening(*words, code=code, SCREENING_PUBLIC_KEY=str(place / "public.pem"))

    assert "is not signed" in run("unsigned", 1).stderr
    signed = screening("sign", place / "bundle", "--key", place / "private.pem")
    assert "signed" in signed.stdout
    run("signed", 0)
    (row,) = read_rows(place / "signed" / "predictions.csv")
    assert row.status == "scored"
    with (place / "bundle" / "README.md").open("a") as readme:
        readme.write("better")
    assert "README.md does not have the hash" in run("altered", 1).stderr


def test_worker_checks_the_signature_whoever_queued_the_job(place, screening):
    queue = ["--queue", place / "queue.sqlite"]
    words = ["--model", place / "bundle", "--out", place / "report"]
    screening("submit", place / "films", *words, *queue)
    key = ["--public-key", place / "public.pem"]
    result = screening("worker", "--drain", *key, *queue, code=1)
    assert "is not signed" in result.stderr
    (job,) = json.loads(screening("jobs", "list", "--json", *queue).stdout)
    assert (job["state"], job["attempts"]) == ("failed", 0)
    assert not (place / "report").exists()


def test_altered_bundle_cannot_be_signed(place, screening):
    (place / "bundle" / "new").touch()
    result = screening("sign", place / "bundle", "--key", place / "private.pem", code=1)
    assert "altered: new is not in SHA256SUMS" in result.stderr
    assert not (place / "bundle" / "SHA256SUMS.sig").exists()
