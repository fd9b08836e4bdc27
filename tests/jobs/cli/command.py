"""Call the command within the test's own process."""

from click.testing import CliRunner

from jobs import exit_codes
from jobs.cli.main import cli


def screening(*words, **environment):
    """Run the command; the environment by keyword."""
    return CliRunner().invoke(cli, [str(word) for word in words], env=environment)


def submitted(store, *words, **environment):
    """The job that `submit` puts into the queue."""
    result = screening("submit", *words, **environment)
    assert result.exit_code == exit_codes.OK, result.output
    return store.get(result.stdout.strip())
