"""Find PostgreSQL's programs: installed, or unpacked from Debian's packages."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from emulation import debian
from emulation.debian import Release, Unavailable

_NEEDED: Final = ("initdb", "postgres", "pg_isready", "createdb")

# Debian keeps them outside PATH, in a folder for each version.
_DEBIANS: Final = Path("usr/lib/postgresql")

# Leave out what prepares an installation and the C library: the machine's own loader must find
# its own library.
_UNPACKED: Final = ("postgresql", "lib", "zlib")
_LEFT_OUT: Final = "libc6_"


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs and where they are.

    PostgreSQL refuses to run as root, so root's calls run as ``nobody``.

    Attributes:
        folder: folder that contains all of them.
        libraries: folders with the libraries that come with them.
    """

    folder: Path
    libraries: tuple[Path, ...] = ()

    @classmethod
    def found(cls) -> "Programs":
        """Return those in PATH, else Debian's newest, else unpacked ones.

        ``SCREENING_POSTGRES`` names the folder in which they are unpacked once, by default in the
        user's cache; if it is set, installed programs are ignored.

        Raises:
            Unavailable: if none are found and the packages cannot be downloaded.
        """
        chosen = os.environ.get("SCREENING_POSTGRES")
        installed = [] if chosen else list(_installed())
        return installed[0] if installed else _unpacked(Path(chosen or _cache()).absolute())

    def run(self, program: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program until it ends, and capture its output.

        Raises:
            Unavailable: if ``nobody`` may not run it.
        """
        options: dict[str, Any] = {"cwd": cwd, "env": self._environment()} | account()
        command: list[str | Path] = [self.folder / program, *map(str, arguments)]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False, **options)
        except PermissionError as error:
            raise Unavailable(f"{command[0]} is out of reach: {error.strerror}") from error

    def start(
        self, program: str, *arguments: object, cwd: Path, log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a program that keeps running; in its own session, Ctrl-C does not reach it."""
        options: dict[str, Any] = {"cwd": cwd, "env": self._environment()} | account()
        return subprocess.Popen(
            [self.folder / program, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )

    def _environment(self) -> dict[str, str]:
        # Drop the settings of other servers (PG*) and this user's language (LC_*).
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))
        }
        brought = {"LD_LIBRARY_PATH": ":".join(map(str, self.libraries))} if self.libraries else {}
        return kept | {"LC_ALL": "C"} | brought


def account() -> dict[str, Any]:
    """Return :mod:`subprocess` options for a user as whom PostgreSQL agrees to run."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _installed() -> Iterator[Programs]:
    in_path = shutil.which("pg_ctl")
    if in_path:
        yield from _complete(Path(in_path).resolve().parent)
    yield from _newest_first(Path("/"))


def _newest_first(root: Path, libraries: tuple[Path, ...] = ()) -> Iterator[Programs]:
    versions = sorted(
        (root / _DEBIANS).glob("[0-9]*/bin"),
        key=lambda folder: float(folder.parent.name),
        reverse=True,
    )
    for folder in versions:
        yield from _complete(folder, libraries)


def _complete(folder: Path, libraries: tuple[Path, ...] = ()) -> Iterator[Programs]:
    # A machine with only the client has just some of them.
    if all((folder / name).is_file() for name in _NEEDED):
        yield Programs(folder, libraries)


def _cache() -> Path:
    if not os.geteuid():
        # Other users cannot read root's home directory.
        return Path("/var/cache/screening-postgres")
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "screening-postgres"


def _unpacked(cache: Path) -> Programs:
    release = Release.here()
    root = cache / f"{release.name}-{debian.architecture()}"
    if not root.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as place:
            aside = _build(release, Path(place))
            try:
                aside.rename(root)
            except OSError:
                # Another process was faster and has unpacked the same files.
                if not root.exists():
                    raise
    libraries = (*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*"))
    found = list(_newest_first(root, libraries))
    if not found:
        raise Unavailable(f"{root} lacks {', '.join(_NEEDED)}; remove it")
    return found[0]


def _build(release: Release, place: Path) -> Path:
    packages = release.fetch(place / "apt", debian.architecture(), "postgresql")
    aside = place / "root"
    aside.mkdir()
    wanted = [one for one in packages if one.name.startswith(_UNPACKED)]
    debian.unpack([one for one in wanted if not one.name.startswith(_LEFT_OUT)], aside)
    return aside
