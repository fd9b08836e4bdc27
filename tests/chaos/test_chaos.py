"""Short form of the chaos campaign; `make chaos` runs the long one."""

import pytest

from chaos.campaign import campaign
from postgres import served
from postgres_programs import Unavailable


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request):
    """A store that is available on this machine."""
    if request.param == "postgresql":
        try:
            with served(durable=False):
                pass
        except Unavailable as error:
            pytest.skip(f"no PostgreSQL: {error}")
    return request.param


def test_faults_neither_lose_nor_duplicate_films(kind, tmp_path, monkeypatch, capsys):
    # Use the single built-in film, even on machines with more.
    monkeypatch.delenv("SCREENING_FILMS", raising=False)
    complaints = campaign(tmp_path / kind, kind, films=160, rounds=6, jobs=4, seed=1)
    assert complaints == [], capsys.readouterr().out
