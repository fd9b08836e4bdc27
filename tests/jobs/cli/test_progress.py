"""What is said on a terminal while films are screened."""

import io

from rich.console import Console

from jobs.cli.progress import ScreeningProgress


def test_a_name_that_looks_like_markup_is_said_as_it_is():
    progress = ScreeningProgress()
    progress.watched = True
    progress.bar.live.console = Console(file=io.StringIO(), width=80)
    progress.say("Screening 2 files in /data/[/bold] and [red]")
    assert "in /data/[/bold] and [red]" in progress.bar.console.file.getvalue()
