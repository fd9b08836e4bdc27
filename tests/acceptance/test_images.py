"""What can be said of the images without building them; `make images` builds and runs them."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from jobs.cli.main import cli

ROOT = Path(__file__).parents[2]
IMAGES = ("runner", "train", "edge")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))


def instructions(image: str) -> list[tuple[str, str]]:
    """The Dockerfile's lines, joined where they go on: what to do, and with what."""
    text = (ROOT / "docker" / f"{image}.Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def last(image: str, what: str) -> str:
    return [value for name, value in instructions(image) if name == what][-1]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_a_numbered_user_who_is_not_root(image):
    # Kubernetes cannot tell whether a name is root.
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last(image, "USER"))


@pytest.mark.parametrize("image", IMAGES)
def test_every_image_stands_on_the_same_pinned_base(image):
    bases = {value.partition(" AS ")[0] for name, value in instructions(image) if name == "FROM"}
    assert bases <= {"${PYTHON}", "scratch"}
    assert re.fullmatch(r"PYTHON=python:3\.11\.\d+-slim-bookworm", last(image, "ARG"))
    assert last(image, "ARG") == last("runner", "ARG")


def test_a_builder_is_sent_what_the_package_is_made_of_and_nothing_else():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    package = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    about = {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert sent == {*package, *about, "NOTICE", "pyproject.toml", "docker/constraints.txt"}
    assert lines[1] == "*"
    assert all((ROOT / name).exists() for name in sent)


@pytest.mark.parametrize(
    ("image", "installs"),
    [
        ("runner", '".[postgres,cluster]"'),
        ("train", '".[train]"'),
        ("edge", "--requirement bundle/requirements.txt"),
    ],
)
def test_an_image_installs_what_is_pinned_and_only_train_has_tensorflow(image, installs):
    [command] = [what for name, what in instructions(image) if name == "RUN" and "/venv" in what]
    assert f".txt {installs} " in command.partition(" --constraint ")[2]
    needs = (ROOT / "exports" / "shipped" / "requirements.txt").read_text(encoding="utf-8").split()
    needs += PROJECT["project"]["dependencies"]
    assert not [need for need in needs if re.match("tensorflow|keras", need)]


@pytest.mark.parametrize("image", ["runner", "train"])
def test_an_image_begins_with_a_command_that_exists(image):
    assert json.loads(last(image, "ENTRYPOINT")) == ["screening"]
    assert json.loads(last(image, "CMD"))[0] in cli.commands


def test_the_health_check_asks_the_queue_in_a_way_that_exists(screening, tmp_path):
    options, _, command = last("runner", "HEALTHCHECK").partition(" CMD ")
    [question] = re.findall(r"&& screening (.*?) >", command)
    screening(*question.split(), XDG_STATE_HOME=str(tmp_path))
    (tmp_path / "screening" / "queue.sqlite").write_text("no database", encoding="utf-8")
    screening(*question.split(), XDG_STATE_HOME=str(tmp_path), code=1)
    check = dict(COMPOSE["services"]["runner"]["healthcheck"])
    assert check.pop("test") == ["CMD", *json.loads(command)]
    given = dict(option.removeprefix("--").split("=") for option in options.split())
    assert {name.replace("_", "-"): value for name, value in check.items()} == given


def test_a_stopped_container_has_as_long_for_its_films_in_hand_as_a_stopped_unit():
    unit = (ROOT / "docker" / "systemd" / "screening-worker.service").read_text(encoding="utf-8")
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert COMPOSE["services"]["runner"]["stop_grace_period"] == f"{seconds}s"


def test_a_queue_that_is_not_named_is_the_one_in_the_volume(screening, tmp_path):
    assert COMPOSE["services"]["runner"]["environment"]["SCREENING_QUEUE"].endswith(":-}")
    screening("jobs", "list", XDG_STATE_HOME=str(tmp_path), SCREENING_QUEUE="")
    assert (tmp_path / "screening" / "queue.sqlite").exists()


@pytest.mark.parametrize("service", COMPOSE["services"].values(), ids=COMPOSE["services"])
def test_a_service_is_built_from_here_and_forgets_nothing_that_its_image_keeps(service):
    dockerfile = ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]
    image = dockerfile.name.removesuffix(".Dockerfile")
    assert dockerfile.resolve() == ROOT / "docker" / f"{image}.Dockerfile"
    # What is left to a volume without a name is lost with its container: the patient key.
    kept = {volume.rpartition("}")[2].split(":")[-1] for volume in service["volumes"]}
    assert {*json.loads(last(image, "VOLUME"))} <= kept
    used = {volume.partition(":")[0] for volume in service["volumes"]}
    assert {name for name in used if name.isidentifier()} <= {*COMPOSE["volumes"]}
