"""Test the Docker files without building the images; `make images` builds and runs them."""

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
    """Return the Dockerfile's instructions with their arguments; continued lines are joined."""
    text = (ROOT / "docker" / f"{image}.Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def last(image: str, what: str) -> str:
    return [value for name, value in instructions(image) if name == what][-1]


@pytest.mark.parametrize("image", IMAGES)
def test_image_runs_as_a_numeric_user_other_than_root(image):
    # Kubernetes cannot tell whether a user name is root.
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last(image, "USER"))


@pytest.mark.parametrize("image", IMAGES)
def test_all_images_have_the_same_pinned_base(image):
    bases = {value.partition(" AS ")[0] for name, value in instructions(image) if name == "FROM"}
    assert bases <= {"${PYTHON}", "scratch"}
    assert re.fullmatch(r"PYTHON=python:3\.11\.\d+-slim-bookworm", last(image, "ARG"))
    assert last(image, "ARG") == last("runner", "ARG")


def test_build_context_contains_only_the_package():
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
def test_images_pin_packages_and_only_train_has_tensorflow(image, installs):
    [command] = [what for name, what in instructions(image) if name == "RUN" and "/venv" in what]
    assert f".txt {installs} " in command.partition(" --constraint ")[2]
    needs = (ROOT / "exports" / "shipped" / "requirements.txt").read_text(encoding="utf-8").split()
    needs += PROJECT["project"]["dependencies"]
    assert not [need for need in needs if re.match("tensorflow|keras", need)]


@pytest.mark.parametrize("image", ["runner", "train"])
def test_image_starts_an_existing_command(image):
    assert json.loads(last(image, "ENTRYPOINT")) == ["screening"]
    assert json.loads(last(image, "CMD"))[0] in cli.commands


def test_health_check_uses_an_existing_command(installed, tmp_path):
    options, _, command = last("runner", "HEALTHCHECK").partition(" CMD ")
    [question] = re.findall(r"&& screening (.*?) >", command)
    installed(*question.split(), XDG_STATE_HOME=str(tmp_path))
    (tmp_path / "screening" / "queue.sqlite").write_text("no database", encoding="utf-8")
    installed(*question.split(), XDG_STATE_HOME=str(tmp_path), code=1)
    check = dict(COMPOSE["services"]["runner"]["healthcheck"])
    assert check.pop("test") == ["CMD", *json.loads(command)]
    given = dict(option.removeprefix("--").split("=") for option in options.split())
    assert {name.replace("_", "-"): value for name, value in check.items()} == given


def test_container_stop_timeout_is_that_of_the_systemd_unit():
    unit = (ROOT / "docker" / "systemd" / "screening-worker.service").read_text(encoding="utf-8")
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert COMPOSE["services"]["runner"]["stop_grace_period"] == f"{seconds}s"


def test_default_queue_is_in_the_volume(screening, tmp_path):
    assert COMPOSE["services"]["runner"]["environment"]["SCREENING_QUEUE"].endswith(":-}")
    screening("jobs", "list", XDG_STATE_HOME=str(tmp_path), SCREENING_QUEUE="")
    assert (tmp_path / "screening" / "queue.sqlite").exists()


@pytest.mark.parametrize("service", COMPOSE["services"].values(), ids=COMPOSE["services"])
def test_service_uses_named_volumes_for_all_image_volumes(service):
    dockerfile = ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]
    image = dockerfile.name.removesuffix(".Dockerfile")
    assert dockerfile.resolve() == ROOT / "docker" / f"{image}.Dockerfile"
    # Data in an unnamed volume are lost with the container, for example the patient key.
    kept = {volume.rpartition("}")[2].split(":")[-1] for volume in service["volumes"]}
    assert {*json.loads(last(image, "VOLUME"))} <= kept
    used = {volume.partition(":")[0] for volume in service["volumes"]}
    assert {name for name in used if name.isidentifier()} <= {*COMPOSE["volumes"]}
