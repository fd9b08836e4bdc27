"""Run the command in the test's own process."""

from click.testing import CliRunner

from jobs import exit_codes
from jobs.cli.main import cli


def screening(*words, **environment):
    """Run the command with these words; environment variables are given as keywords."""
    return CliRunner().invoke(cli, [str(word) for word in words], env=environment)


def submitted(store, *words, **environment):
    """Run `submit` and return the job that it enqueues."""
    result = screening("submit", *words, **environment)
    assert result.exit_code == exit_codes.OK, result.output
    return store.get(result.stdout.strip())
