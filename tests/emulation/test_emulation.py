"""Tests of the emulated machine itself: errors on building it, and atomic creation."""

import platform

import pytest

from emulation import arm64
from emulation.debian import Release, Unavailable

BOOKWORM = {"ID": "debian", "VERSION_ID": "12", "VERSION_CODENAME": "bookworm"}
SOURCES = """\
mirror:/debian bookworm main Debian
mirror:/debian-security bookworm-security main $(ORIGIN)
mirror:/debian bookworm non-free Debian
mirror:/other bookworm main Somebody
mirror:/other stable main Debian
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A machine without commands; returns a function that adds a command."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: BOOKWORM)

    def give(name, script):
        (place / name).write_text(f"#!/bin/sh\n{script}\n")
        (place / name).chmod(0o755)

    return give


@pytest.fixture
def debian(commands):
    """A machine whose apt has these sources."""
    commands("dpkg-deb", "")
    commands("apt-get", f"echo '{SOURCES.strip()}'")
    return commands


def test_missing_apt_is_named_as_the_cause(commands):
    with pytest.raises(Unavailable, match="it needs apt-get and dpkg-deb"):
        Release.here()


@pytest.mark.usefixtures("debian")
def test_other_system_is_named_as_the_cause(monkeypatch):
    other = {"ID": "other", "PRETTY_NAME": "Another 3"}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: other)
    with pytest.raises(Unavailable, match="it needs a stable Debian; this is Another 3"):
        Release.here()


@pytest.mark.usefixtures("debian")
def test_only_debian_sources_of_this_release_are_used():
    assert Release.here().sources == {
        ("mirror:/debian", "bookworm"),
        ("mirror:/debian-security", "bookworm-security"),
    }


@pytest.mark.usefixtures("debian")
def test_later_release_comes_from_the_same_servers():
    release = Release.here()
    assert release.later("trixie", 13).sources == {
        ("mirror:/debian", "trixie"),
        ("mirror:/debian-security", "trixie-security"),
    }
    assert release.later("bullseye", 11) is release


def test_apt_error_is_reported(debian, tmp_path):
    release = Release.here()
    debian("apt-get", "printf 'W: old\\nE: no network\\nE: old ones used\\n' >&2; exit 100")
    with pytest.raises(Unavailable, match=r"^apt-get failed: E: no network$"):
        release.fetch(tmp_path / "apt", "arm64", "python3")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    place = tmp_path / "cache"
    monkeypatch.setenv("SCREENING_ARM64", str(place))
    return place


def test_failed_build_leaves_no_files(cache, monkeypatch):
    def fail(place, root):
        (place / "half").touch()
        raise Unavailable("no network")

    monkeypatch.setattr(arm64, "_build", fail)
    with pytest.raises(Unavailable):
        arm64.emulated()
    assert list(cache.iterdir()) == []


def test_existing_build_is_reused(cache, monkeypatch):
    built = []

    def build(place, root):
        built.append(root)
        (place / "root").mkdir()
        (place / "root" / "whole").touch()
        return place / "root"

    monkeypatch.setattr(arm64, "_build", build)
    assert arm64.emulated() == arm64.emulated()
    assert built == list(cache.iterdir())
    assert (built[0] / "whole").exists()


def test_faster_of_two_builds_is_kept(cache, monkeypatch):
    def build(place, root):
        (place / "root" / "slower").mkdir(parents=True)
        (root / "faster").mkdir(parents=True)
        return place / "root"

    monkeypatch.setattr(arm64, "_build", build)
    root = arm64.emulated().parents[2]
    assert [path.name for path in root.iterdir()] == ["faster"]
    assert list(cache.iterdir()) == [root]
