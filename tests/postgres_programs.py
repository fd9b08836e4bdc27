"""PostgreSQL's programs: those of this machine, or of Debian's packages, unpacked, never installed."""

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

# Debian keeps them out of PATH, a folder for each version.
_DEBIANS: Final = Path("usr/lib/postgresql")

# Not what prepares an installation, nor the C library: the loader, which is this machine's, must
# find its own.
_UNPACKED: Final = ("postgresql", "lib", "zlib")
_LEFT_OUT: Final = "libc6_"


@dataclass(frozen=True)
class Programs:
    """Where they lie.

    PostgreSQL refuses to work for root, so root's runs of them are those of ``nobody``.

    Attributes:
        folder: with all of them.
        libraries: folders with those that they bring.
    """

    folder: Path
    libraries: tuple[Path, ...] = ()

    @classmethod
    def found(cls) -> "Programs":
        """Those in PATH, else Debian's newest, else unpacked ones.

        ``SCREENING_POSTGRES`` names the folder to unpack them in, once, by default in the user's
        cache; where it is set, installed ones are left alone.

        Raises:
            Unavailable: if there are none, and the packages cannot be had.
        """
        chosen = os.environ.get("SCREENING_POSTGRES")
        installed = [] if chosen else list(_installed())
        return installed[0] if installed else _unpacked(Path(chosen or _cache()).absolute())

    def run(self, program: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run one to its end, and keep what it said.

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
        """Start one that goes on, out of reach of the terminal's Ctrl-C."""
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
        # Neither another server's address and options nor this user's language.
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))
        }
        brought = {"LD_LIBRARY_PATH": ":".join(map(str, self.libraries))} if self.libraries else {}
        return kept | {"LC_ALL": "C"} | brought


def account() -> dict[str, Any]:
    """Options of :mod:`subprocess` for a user that PostgreSQL works for."""
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
    # A machine with only the client has some of them.
    if all((folder / name).is_file() for name in _NEEDED):
        yield Programs(folder, libraries)


def _cache() -> Path:
    if not os.geteuid():
        # Nobody else gets into root's home.
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
                # Another process was faster, and what it unpacked is the same.
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
