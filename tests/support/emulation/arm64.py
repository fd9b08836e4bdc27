"""Build a 64-bit Arm machine with a bundle's requirements, emulated by QEMU: ``make emulate``.

Nothing is installed. A folder contains the emulator, Debian's Python for arm64 and a virtual
environment whose ``bin/python`` is a script that starts this Python in the emulator. Processes that
the emulated Python starts with ``sys.executable`` are therefore emulated, too, without support by
the kernel.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from emulation import debian
from emulation.debian import Release, Unavailable
from exports.bundle import SHIPPED

_CONSTRAINTS: Final = Path(__file__).parents[3] / "docker" / "constraints.txt"

#: Requirements of a bundle, and the other runtime.
REQUIREMENTS: Final = ("--requirement", str(SHIPPED / "requirements.txt"), "onnxruntime")

# Earlier versions crash on instructions of the runtimes; Debian has this one, static, since 13.
_QEMU: Final = 10
_QEMU_RELEASE: Final = ("trixie", 13)
_QEMU_FILE: Final = "./usr/bin/qemu-aarch64"

# From the oldest C library that the README promises, and the older names of platforms.
_PLATFORMS: Final = (
    *(f"manylinux_2_{minor}_aarch64" for minor in range(28, 16, -1)),
    "manylinux2014_aarch64",
)

# ``-0``: Python finds its environment and sys.executable by the name it was started with.
_PYTHON: Final = """\
#!/bin/sh
exec "{root}/qemu-aarch64" -L "{root}/debian" -0 "$0" "{root}/debian/usr/bin/{python}" "$@"
"""

_ENVIRONMENT: Final = """\
home = {root}/debian/usr/bin
include-system-site-packages = false
"""


def emulated() -> Path:
    """Return the Python of the emulated machine, which is built on first use.

    It is in a folder of ``SCREENING_ARM64``, by default the user's cache, named by a hash of its
    inputs.

    Raises:
        Unavailable: if the packages cannot be downloaded.
    """
    root = _cache() / _key()
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=".building-") as place:
            temporary = _build(Path(place), root)
            try:
                temporary.rename(root)
            except OSError:
                # Another process was faster; its result is the same.
                if not root.exists():
                    raise
    return root / "venv" / "bin" / "python"


def install(site: Path, *options: str) -> None:
    """Install wheels with pip into the folder `site`, at the versions tested here."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pinned = ["--only-binary", ":all:", "--constraint", str(_CONSTRAINTS)]
    subprocess.run([*pip, *pinned, "--target", str(site), *options], check=True)


def for_arm(version: str) -> list[str]:
    """Return the pip options for the emulated machine with this version of Python."""
    platforms = [f"--platform={platform}" for platform in _PLATFORMS]
    return [*platforms, "--implementation=cp", f"--python-version={version}"]


def _cache() -> Path:
    chosen = os.environ.get("SCREENING_ARM64")
    if chosen:
        return Path(chosen).absolute()
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "screening-arm64"


def _key() -> str:
    parts = [Path(__file__), Path(debian.__file__), _CONSTRAINTS, SHIPPED / "requirements.txt"]
    hashed = hashlib.sha256(b"".join(part.read_bytes() for part in parts))
    return hashed.hexdigest()[:16]


def _build(place: Path, root: Path) -> Path:
    """Build the machine in `place`, with the paths that it has after it was moved to `root`."""
    release = Release.here()
    temporary = place / "root"
    temporary.mkdir()
    _place_qemu(release, place / "qemu", temporary / "qemu-aarch64")
    system = temporary / "debian"
    debian.unpack(release.fetch(place / "arm64", "arm64", "python3", "libstdc++6"), system)
    python = (system / "usr" / "bin" / "python3").readlink().name
    version = python.removeprefix("python")
    venv = temporary / "venv"
    install(venv / "lib" / python / "site-packages", *for_arm(version), *REQUIREMENTS)
    (venv / "pyvenv.cfg").write_text(_ENVIRONMENT.format(root=root))
    (venv / "bin").mkdir()
    program = venv / "bin" / "python"
    program.write_text(_PYTHON.format(root=root, python=python))
    program.chmod(0o755)
    return temporary


def _place_qemu(release: Release, place: Path, file: Path) -> None:
    own = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if own and _version(Path(own)) >= _QEMU:
        shutil.copy(own, file)
        return
    later = release.later(*_QEMU_RELEASE)
    (package,) = later.fetch(place, debian.architecture(), "qemu-user")
    # The package emulates thirty machines; only one file is needed.
    command = ["dpkg-deb", "--fsys-tarfile", package]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as packed,
        tarfile.open(fileobj=packed.stdout, mode="r|") as archive,
    ):
        for member in archive:
            content = archive.extractfile(member) if member.name == _QEMU_FILE else None
            if content:
                file.write_bytes(content.read())
    file.chmod(0o755)
    if _version(file) < _QEMU:
        raise Unavailable(f"it needs QEMU {_QEMU}; {later.name} has {_version(file)}")


def _version(qemu: Path) -> int:
    said = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", said)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{emulated()}\n")
    except Unavailable as error:
        sys.exit(f"Error: no emulated Arm: {error}")
