"""A bundle: a folder of data that nothing can change unnoticed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from exports.errors import BundleError
from exports.signature import SIGNATURE, SUMS, verify
from screening.card import Card, sha256_of

#: Built by the documented commands and installed with this package.
SHIPPED: Final = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are what its sums say.

    Attributes:
        path: the folder, absolute.
        card: its model card.
        sha256: hash of its ``SHA256SUMS``: one value that names the whole bundle.
    """

    path: Path
    card: Card
    sha256: str

    @classmethod
    def open(cls, path: Path, public_key: Path | None = None) -> Self:
        """Check every file's hash, and read the card.

        Args:
            public_key: PEM file; if there is one, the bundle must be signed with its other half.

        Raises:
            BundleError: if there is no bundle, a file is missing, added or altered, or the
                signature is not the one asked for.
            SignatureError: if `public_key` is no key.
        """
        sums = path / SUMS
        try:
            content = sums.read_bytes()
        except OSError as error:
            raise BundleError(
                f"{path} is no bundle: {SUMS}: {error.strerror}; `screening export` makes one"
            ) from error
        if public_key is not None:
            verify(path, content, public_key)
        stated = _parse(content, sums)
        actual = _hashes(path)
        for name in sorted(stated.keys() | actual.keys()):
            if name not in actual:
                raise BundleError(f"{path} is incomplete: {name} is missing")
            if name not in stated:
                raise BundleError(f"{path} was altered: {name} is not in {SUMS}")
            if stated[name] != actual[name]:
                raise BundleError(f"{path} was altered: {name} does not have the hash in {SUMS}")
        digest = hashlib.sha256(content).hexdigest()
        return cls(path.resolve(), Card.read(path), digest)


def seal(folder: Path) -> None:
    """Write ``SHA256SUMS`` over every file of `folder`, in the format of ``sha256sum``.

    A signature of what was there before goes.
    """
    (folder / SIGNATURE).unlink(missing_ok=True)
    lines = [f"{sha256}  {name}\n" for name, sha256 in _hashes(folder).items()]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _hashes(folder: Path) -> dict[str, str]:
    paths = sorted(folder.rglob("*"))
    for path in paths:
        # What it leads to could change after it was checked.
        if path.is_symlink():
            raise BundleError(f"{folder} holds a link, {path.relative_to(folder)}; copy the file")
    about = (folder / SUMS, folder / SIGNATURE)
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in paths
        if path.is_file() and path not in about
    }


def _parse(content: bytes, sums: Path) -> dict[str, str]:
    """Name to hash, from the lines of ``sha256sum``."""
    stated = {}
    for line in content.decode("utf-8", "replace").splitlines():
        sha256, separator, name = line.partition("  ")
        if len(sha256) != 64 or not separator:
            raise BundleError(f"{sums} is damaged: {line[:80]!r}")
        stated[name] = sha256
    return stated
