"""The short form of the campaign; `make chaos` is the long one."""

import pytest

from chaos.campaign import campaign
from postgres import served
from postgres_programs import Unavailable


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request):
    """A store that there is on this machine."""
    if request.param == "postgresql":
        try:
            with served(durable=False):
                pass
        except Unavailable as error:
            pytest.skip(f"no PostgreSQL: {error}")
    return request.param


def test_no_fault_loses_or_doubles_a_film(kind, tmp_path, monkeypatch, capsys):
    # On one film, wherever there are more.
    monkeypatch.delenv("SCREENING_FILMS", raising=False)
    complaints = campaign(tmp_path / kind, kind, films=160, rounds=6, jobs=4, seed=1)
    assert complaints == [], capsys.readouterr().out
