"""Tests for the progress output while films are screened."""

import io

from rich.console import Console

from jobs.cli.progress import ScreeningProgress


def test_name_that_looks_like_markup_is_printed_literally():
    progress = ScreeningProgress()
    progress.watched = True
    progress.bar.live.console = Console(file=io.StringIO(), width=80)
    progress.say("Screening 2 files in /data/[/bold] and [red]")
    assert "in /data/[/bold] and [red]" in progress.bar.console.file.getvalue()
