"""Download Debian packages of another architecture or release and unpack them.

Nothing is installed. apt runs with separate folders, so that the configuration and packages of this
machine do not change.
"""

import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Read after the configuration of this machine, so that its proxies and certificates apply.
_CONFIGURATION: Final = """\
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures "{architecture}";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State "{place}";
Dir::State::status "{place}/status";
Dir::Cache "{place}/cache";
Dir::Etc::sourcelist "{place}/sources.list";
Dir::Etc::sourceparts "/dev/null";
"""


class Unavailable(Exception):
    """Raised if the packages are not available here; the message gives the reason."""


@dataclass(frozen=True)
class Release:
    """A release of Debian on the servers that apt uses on this machine.

    Attributes:
        name: code name, with which its suites begin.
        number: version number of a stable release.
        sources: address and suite of each source.
    """

    name: str
    number: int
    sources: frozenset[tuple[str, str]]

    @classmethod
    def here(cls) -> "Release":
        """Return the release of this machine.

        Raises:
            Unavailable: if this is not a stable Debian, or apt has no source for it.
        """
        lacking = [name for name in ("apt-get", "dpkg-deb") if not shutil.which(name)]
        if lacking:
            raise Unavailable(f"it needs {' and '.join(lacking)}")
        system = platform.freedesktop_os_release()
        if system["ID"] != "debian" or not system.get("VERSION_ID", "").isdigit():
            raise Unavailable(f"it needs a stable Debian; this is {system.get('PRETTY_NAME')}")
        name = system["VERSION_CODENAME"]
        fields = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"
        listed = _told(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"])
        sources = frozenset(
            (address, suite)
            for address, suite, component, origin in map(str.split, listed.splitlines())
            # Before the first `apt-get update`, apt does not know the origin.
            if suite.startswith(name) and component == "main" and origin in ("Debian", "$(ORIGIN)")
        )
        if not sources:
            raise Unavailable(f"apt has no source of Debian's {name}")
        return cls(name, int(system["VERSION_ID"]), sources)

    def later(self, name: str, number: int) -> "Release":
        """Return another release on the same servers; this one if it is not older."""
        if self.number >= number:
            return self
        sources = {(address, suite.replace(self.name, name)) for address, suite in self.sources}
        return Release(name, number, frozenset(sources))

    def fetch(self, place: Path, architecture: str, *packages: str) -> list[Path]:
        """Download these packages and all their dependencies.

        Args:
            place: an empty folder for the state of apt and the packages.

        Raises:
            Unavailable: if apt cannot download them.
        """
        (place / "lists" / "partial").mkdir(parents=True)
        (place / "cache" / "archives" / "partial").mkdir(parents=True)
        (place / "status").touch()
        lines = [
            f"deb [signed-by={_KEYS}] {address} {suite} main\n" for address, suite in self.sources
        ]
        (place / "sources.list").write_text("".join(sorted(lines)))
        text = _CONFIGURATION.format(architecture=architecture, place=place)
        (place / "apt.conf").write_text(text)
        apt = ["apt-get", "--config-file", place / "apt.conf", "--quiet"]
        _told([*apt, "update"])
        only = ["--download-only", "--no-install-recommends", "--yes"]
        _told([*apt, *only, "install", *packages])
        return sorted((place / "cache" / "archives").glob("*.deb"))


def architecture() -> str:
    """Return the Debian name of the architecture of this machine."""
    return _told(["dpkg", "--print-architecture"]).strip()


def unpack(packages: list[Path], folder: Path) -> None:
    """Unpack `packages` into `folder`."""
    for package in packages:
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)


def _told(command: list[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("E: ")]
        raise Unavailable(f"{command[0]} failed: {errors[0] if errors else done.stderr.strip()}")
    return done.stdout
