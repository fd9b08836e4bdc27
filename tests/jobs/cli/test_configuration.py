"""Tests for options from the command line, the environment and a configuration file."""

import pytest

from command import screening, submitted
from jobs import exit_codes


# The command line has priority over the environment, and the environment over the file.
@pytest.mark.parametrize(
    ("line", "environment", "config", "batch"),
    [
        ([], {}, "", 8),
        ([], {}, "[submit]\nbatch = 16\n", 16),
        ([], {}, "[run]\nbatch = 16\n", 8),
        ([], {"SCREENING_SUBMIT_BATCH": "32"}, "", 32),
        ([], {"SCREENING_RUN_BATCH": "32"}, "", 8),
        ([], {"SCREENING_SUBMIT_BATCH": "32"}, "[submit]\nbatch = 16\n", 32),
        (["--batch", "64"], {"SCREENING_SUBMIT_BATCH": "32"}, "[submit]\nbatch = 16\n", 64),
        (["--batch", "64"], {}, "[submit]\nbatch = 16\n", 64),
    ],
)
def test_command_line_overrides_environment_and_file(
    store, films, bundle, home, line, environment, config, batch
):
    (home / "screening.toml").write_text(config)
    result = screening(
        "--config",
        "screening.toml",
        "submit",
        films,
        "--model",
        bundle.path,
        *line,
        **environment,
    )
    assert result.exit_code == exit_codes.OK, result.output
    assert [job.options.batch for job in store.jobs()] == [batch]


def test_file_accepts_every_type_of_option(store, films, bundle, home):
    (home / "labels.csv").write_text("film,label\n0.png,1\n")
    (home / "screening.toml").write_text(
        "[submit]\n"
        'model = "bundle"\nout = "out"\nlabels = "labels.csv"\nruntime = "auto"\nkey = "a.key"\n'
    )
    job = submitted(store, films, SCREENING_CONFIG="screening.toml")
    assert (job.model, job.report) == (bundle.path, home / "out")
    assert (job.options.labels, job.options.runtime) == (home / "labels.csv", "auto")
    assert job.options.key == home / "a.key"


@pytest.mark.parametrize(
    ("config", "environment"),
    [
        ("[submit]\nbatch = 0\n", {}),
        ('[submit]\nbatch = "few"\n', {}),
        ("", {"SCREENING_SUBMIT_BATCH": "0"}),
        ("", {"SCREENING_SUBMIT_RUNTIME": "abacus"}),
    ],
)
def test_invalid_value_is_a_usage_error_from_any_source(
    store, films, bundle, home, config, environment
):
    (home / "screening.toml").write_text(config)
    words = ("--config", "screening.toml", "submit", films, "--model", bundle.path)
    result = screening(*words, **environment)
    assert result.exit_code == exit_codes.USAGE
    assert store.jobs() == []


@pytest.mark.parametrize("config", ["submit = 16\n", 'submit = "fast"\n'])
def test_file_without_a_table_for_the_command_is_a_usage_error(films, bundle, home, config):
    (home / "screening.toml").write_text(config)
    result = screening("--config", "screening.toml", "submit", films, "--model", bundle.path)
    assert result.exit_code == exit_codes.USAGE


@pytest.mark.parametrize("source", ["line", "environment", "file"])
def test_queue_can_be_chosen_from_any_source(films, bundle, home, queue, source):
    chosen = home / "elsewhere" / "q.sqlite"
    config = home / "screening.toml"
    if source == "file":
        config.write_text(f'[submit]\nqueue = "{chosen}"\n[jobs.list]\nqueue = "{chosen}"\n')
    else:
        config.touch()
    environment = {"SCREENING_QUEUE": str(chosen)} if source == "environment" else {}
    option = ["--queue", chosen] if source == "line" else []
    submit = screening(
        "--config", config, "submit", films, "--model", bundle.path, *option, **environment
    )
    listed = screening("--config", config, "jobs", "list", *option, **environment)
    assert submit.stdout.strip() in listed.stdout
    assert chosen.exists()
    assert not queue.exists()


@pytest.mark.parametrize("config", ["[submit]\nbach = 16\n", "[sumbit]\nbatch = 16\n"])
def test_misspelt_option_in_file_is_a_usage_error(store, films, bundle, home, config):
    (home / "screening.toml").write_text(config)
    result = screening("--config", "screening.toml", "submit", films, "--model", bundle.path)
    assert result.exit_code == exit_codes.USAGE
    assert store.jobs() == []
