"""Keyed hashes instead of names: the same patient gives the same hash, and nobody can go back."""

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self

from screening.errors import KeyFileError
from screening.files import sync
from screening.imaging.sniff import SUFFIXES


@dataclass(frozen=True)
class PatientKey:
    """A site's secret.

    Attributes:
        secret: 32 bytes.
    """

    secret: bytes = field(repr=False)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key file, or make one that only its owner can read (mode 0600).

        Raises:
            KeyFileError: if the file cannot be read or made, or does not hold 64 hex digits.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                # Another worker may have been faster; then its key is the one.
                with suppress(FileExistsError):
                    _make(path)
        except OSError as error:
            raise KeyFileError(f"the key file {path} cannot be used: {error.strerror}") from error
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key file.

        Raises:
            KeyFileError: if it cannot be read, or does not hold 64 hex digits.
        """
        try:
            return cls(_read_secret(path))
        except OSError as error:
            raise KeyFileError(f"the key file {path} cannot be used: {error.strerror}") from error

    @classmethod
    def of_nobody(cls) -> Self:
        """A key that no other hash was made with, where only names of files are looked for."""
        return cls(secrets.token_bytes(32))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell this key from others, and nothing of it."""
        return self.hash("fingerprint", "patient key")

    def hash(self, kind: str, value: str) -> str:
        """16 hex digits of HMAC-SHA256 (RFC 2104) of `value`; empty for an empty value.

        Args:
            kind: ``patient``, ``study``, ``instance`` or ``film``, so that equal values of different kinds
                give different hashes.
        """
        if not value:
            return ""
        # A false character set makes letters that do not exist; these have a hash, too.
        message = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:16]

    def film(self, name: str) -> str:
        """A name for the film `name` that says nothing but what kind of file it is."""
        suffix = PurePosixPath(name).suffix.lower()
        return self.hash("film", name) + (suffix if suffix in SUFFIXES else "")


def _make(path: Path) -> None:
    """Make a key file, whole: workers that begin at the same time must not read half of it.

    Raises:
        FileExistsError: if it is there by now.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_bytes(32).hex() + "\n")
        # No hash is given before the key that gives it again is on the disk.
        sync(aside)
        _name(aside, path)
        sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def _name(aside: Path, path: Path) -> None:
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        aside.rename(path)


def _read_secret(path: Path) -> bytes:
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError as error:
        raise KeyFileError(f"the key file {path} does not hold 64 hex digits") from error
    if len(secret) != 32:
        raise KeyFileError(f"the key file {path} holds {len(secret)} bytes, expected 32")
    return secret
