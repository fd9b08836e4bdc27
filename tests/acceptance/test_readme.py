"""Test the commands in the README and the manual, and the figures of the shipped model."""

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from jobs.cli.main import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page):
    """Yield all code lines that run this project's command, without `--config FILE`."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("    screening "):
            yield shlex.split(re.sub(r"--config \S+ ", "", line), comments=True)


COMMANDS = [
    pytest.param(words, id=f"{page.stem}: {' '.join(words)}")
    for page in PAGES
    for words in commands(page)
]


def test_readme_covers_the_way_from_training_to_a_report():
    shown = {words[1] for words in commands(ROOT / "README.md")}
    assert shown >= {"train", "export", "submit", "worker", "run"}


def test_readme_is_short():
    assert len(README.split()) <= 1000


@pytest.mark.parametrize("words", COMMANDS)
def test_command_and_options_in_the_manual_exist(words):
    _screening, name, *words = words
    command = cli.commands[name]
    if isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    assert isinstance(command, click.Command)
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_linked_files_exist(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_folder_of_tests_is_run_by_a_make_command():
    fast = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [slow] = re.findall(r"^SLOW := \$\(addprefix tests/,(.*)\)$", makefile, re.MULTILINE)
    named = {*fast["tool"]["pytest"]["ini_options"]["testpaths"]}
    named |= {f"tests/{name}" for name in slow.split()}
    assert named == {
        f"tests/{path.relative_to(ROOT / 'tests').parts[0]}"
        for path in (ROOT / "tests").rglob("test_*.py")
    }


def test_tests_of_the_promises_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _before, _head, table = text.partition("| promise | tests |\n| --- | --- |\n")
    for line in table.partition("\n\n")[0].splitlines():
        folder = ROOT / "tests"
        for name in re.findall(r"`([\w/*.]+)`", line.rpartition(" | ")[2]):
            place = folder if name.startswith("test_") else ROOT / "tests"
            found = sorted(place.glob(name))
            assert found, name
            folder = found[0].parent


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_commands_of_the_readme_exist(target):
    assert f"    make {target} " in README
    assert f"\n{target}: " in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "figure", ["auroc", "recall", "specificity", "precision", "calibration_error"]
)
def test_figures_of_the_shipped_model_match_its_card(figure):
    from exports.bundle import SHIPPED
    from screening.model.card import Card

    page = (ROOT / "docs" / "shipped-model.md").read_text(encoding="utf-8")
    metric = Card.read(SHIPPED).test[figure]
    stated = f"{metric['value']:.3f} ({metric['ci_low']:.3f} to {metric['ci_high']:.3f})"
    assert f"| {figure.replace('_', ' ')} | {stated} |" in page.replace("AUROC", "auroc")
