"""Short form of the soak; `make soak` runs the long one, which also measures memory."""

from soak.hour import hour


def test_each_study_of_a_watched_folder_is_screened_once(tmp_path, monkeypatch, capsys):
    # Use the single built-in film, even on machines with more.
    monkeypatch.delenv("SCREENING_FILMS", raising=False)
    complaints = hour(tmp_path, films=40, minutes=1, seed=1, queue=None)
    # The memory of a minute is that of the first imports.
    wrong = [one for one in complaints if not one.startswith("memory has grown")]
    assert wrong == [], capsys.readouterr().out
