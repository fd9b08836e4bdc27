"""Test the files in docker/cluster against Dask, SLURM, Kubernetes and this project's options."""

import re
from pathlib import Path

import dask.config
import distributed
import pytest
import yaml

from jobs.cli.main import cli

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "docker" / "cluster"

CONFIG = yaml.safe_load((CLUSTER / "dask.yaml").read_text(encoding="utf-8"))
DASK, RUNNER = yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text(encoding="utf-8"))


def leaves(values, path=()):
    """Yield each setting with its path."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield ".".join((*path, name)), value


def containers():
    return [
        DASK["spec"]["scheduler"]["spec"]["containers"][0],
        DASK["spec"]["worker"]["spec"]["containers"][0],
        RUNNER["spec"]["template"]["spec"]["containers"][0],
    ]


def test_dask_settings_exist_and_differ_from_defaults():
    known = yaml.safe_load(
        (Path(distributed.__file__).parent / "distributed.yaml").read_text(encoding="utf-8")
    )
    for name, value in leaves(CONFIG):
        before = dask.config.get(name, config=known)
        assert value != before, f"{name} is {value} anyway"


def test_results_are_not_spilled_to_disk():
    memory = CONFIG["distributed"]["worker"]["memory"]
    assert memory["target"] is False
    assert memory["spill"] is False


def test_containers_mount_certificates_and_settings():
    for container in containers():
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        named = re.findall(r"(/(?:tls|config))/\S+", str(container))
        assert {"/tls", "/config"} <= mounts
        assert {*named} <= mounts


def test_every_mounted_volume_is_defined():
    for owner in (DASK["spec"]["scheduler"]["spec"], DASK["spec"]["worker"]["spec"]):
        volumes = {volume["name"] for volume in owner["volumes"]}
        assert {mount["name"] for mount in owner["containers"][0]["volumeMounts"]} == volumes
    runner = RUNNER["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in runner["volumes"]}
    assert {mount["name"] for mount in runner["containers"][0]["volumeMounts"]} == volumes


def test_workers_and_runner_use_the_scheduler_service_name():
    address = f"tls://{DASK['metadata']['name']}-scheduler:8786"
    _scheduler, worker, runner = containers()
    assert address in worker["args"]
    assert {"name": "SCREENING_SCHEDULER", "value": address} in runner["env"]


def test_runner_variables_are_options_of_its_command():
    _scheduler, _worker, runner = containers()
    command = cli.commands[runner["args"][0]]
    known = {option.envvar for option in command.params}
    told = {variable["name"] for variable in runner["env"]}
    assert {name for name in told if name.startswith("SCREENING_")} <= known


def test_each_core_has_a_process_with_one_thread():
    _scheduler, worker, _runner = containers()
    assert f"--nworkers={worker['resources']['limits']['cpu']}" in worker["args"]
    assert "--nthreads=1" in worker["args"]


@pytest.fixture
def slurm(monkeypatch):
    monkeypatch.syspath_prepend(CLUSTER)
    # The script reads Dask's settings once, when it imports Dask; here Dask is imported already.
    monkeypatch.setenv("DASK_CONFIG", "/shared/dask.yaml")
    import slurm

    return slurm


def test_slurm_jobs_have_one_thread_per_process_and_certificates(slurm, certificates):
    asked = ["--jobs", "8", "--cores", "16", "--memory", "32GB", "--tls", str(certificates)]
    arguments, words = slurm.arguments_of([*asked, "--", "run", "/films", "--out", "/report"])
    with slurm.cluster_of(arguments) as cluster:
        script = cluster.job_script()
        options = slurm.options_of(arguments, cluster)
    assert words == ["run", "/films", "--out", "/report"]
    assert "#SBATCH --cpus-per-task=16" in script
    assert "#SBATCH --mem=30G" in script
    assert "export DASK_CONFIG=/shared/dask.yaml" in script
    for word in ("--nworkers 16", "--nthreads 1", "--no-dashboard", "tls://"):
        assert word in script
    for word in ("ca.pem", "cluster.pem", "cluster.key"):
        assert f"{certificates}/{word}" in script
    run = cli.commands["run"]
    known = {name for parameter in run.params for name in parameter.opts}
    assert {word for word in options if word.startswith("--")} <= known
    assert re.fullmatch(r"tls://[\d.]+:\d+", options[3])


def test_manual_page_names_only_existing_options():
    page = (ROOT / "docs" / "many-machines.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^    screening (\w+)(.*)$", page, re.MULTILINE)
    assert {name for name, _words in commands} == {"run", "submit", "worker"}
    for name, words in commands:
        known = {option for parameter in cli.commands[name].params for option in parameter.opts}
        assert {*re.findall(r"--[a-z-]+", words)} <= known
    told = {*re.findall(r"\bSCREENING_[A-Z_]+", page)}
    assert told <= {option.envvar for option in cli.commands["worker"].params}
