"""What the README tells a reader to type exists."""

import re
from pathlib import Path

import click
import pytest

from jobs.cli.main import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

#: Every line of a code block that starts this project's command, without the `--config FILE`.
COMMANDS = [
    re.sub(r"--config \S+ ", "", line.strip())
    for line in README.splitlines()
    if line.startswith("    screening ")
]


def test_the_readme_shows_the_way_from_training_to_a_report():
    shown = {line.split()[1] for line in COMMANDS}
    assert shown >= {"train", "export", "submit", "worker", "run"}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_option_in_the_readme_exists(line):
    _screening, name, *words = line.split()
    command = cli.commands[name]
    if isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    assert isinstance(command, click.Command)
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_of_the_readme_are_targets_of_the_makefile(target):
    assert f"    make {target} " in README
    assert f"\n{target}: " in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "figure", ["auroc", "recall", "specificity", "precision", "calibration_error"]
)
def test_the_figures_of_the_shipped_model_are_those_of_its_card(figure):
    from exports.bundle import SHIPPED
    from screening.card import Card

    metric = Card.read(SHIPPED).test[figure]
    stated = f"{metric['value']:.3f} ({metric['ci_low']:.3f} to {metric['ci_high']:.3f})"
    assert stated in " ".join(README.split())
