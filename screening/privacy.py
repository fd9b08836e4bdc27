"""Keyed hashes in place of patient identifiers: stable for each patient, not reversible."""

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self

from screening.errors import FileUnavailable, KeyFileError
from screening.files import sync
from screening.imaging.sniff import SUFFIXES


@dataclass(frozen=True)
class PatientKey:
    """The secret key of a site.

    Attributes:
        secret: 32 bytes.
    """

    secret: bytes = field(repr=False)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key file, or create one that only its owner can read (mode 0600).

        Raises:
            FileUnavailable: if the file cannot be read or created.
            KeyFileError: if it does not hold 64 hex digits.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                # If another worker created the file first, use its key.
                with suppress(FileExistsError):
                    _create(path)
        except OSError as error:
            raise FileUnavailable(
                f"the key file {path} cannot be used: {error.strerror}"
            ) from error
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key file.

        Raises:
            FileUnavailable: if it cannot be read.
            KeyFileError: if it does not hold 64 hex digits.
        """
        try:
            return cls(_read_secret(path))
        except OSError as error:
            raise FileUnavailable(
                f"the key file {path} cannot be used: {error.strerror}"
            ) from error

    @classmethod
    def of_nobody(cls) -> Self:
        """Return a random key that matches no existing hash, for matching by file name only."""
        return cls(secrets.token_bytes(32))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that identify this key without revealing anything about it."""
        return self.hash("fingerprint", "patient key")

    def hash(self, kind: str, value: str) -> str:
        """Return 16 hex digits of HMAC-SHA256 (RFC 2104) of `value`; empty for an empty value.

        Args:
            kind: ``patient``, ``study``, ``instance`` or ``film``, so that equal values of
                different kinds get different hashes.
        """
        if not value:
            return ""
        # A wrong character set can produce letters that do not exist; these need a hash, too.
        message = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:16]

    def film(self, name: str) -> str:
        """Return a hashed name for the film `name` that keeps only a known file suffix."""
        suffix = PurePosixPath(name).suffix.lower()
        return self.hash("film", name) + (suffix if suffix in SUFFIXES else "")


def _create(path: Path) -> None:
    """Create a key file atomically: workers that start at the same time must not read half of it.

    Raises:
        FileExistsError: if the file exists by now.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_bytes(32).hex() + "\n")
        # The key must be on disk before any hash is made with it.
        sync(temporary)
        _move_into_place(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _move_into_place(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        temporary.rename(path)


def _read_secret(path: Path) -> bytes:
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError as error:
        raise KeyFileError(f"the key file {path} does not have 64 hex digits") from error
    if len(secret) != 32:
        raise KeyFileError(f"the key file {path} has {len(secret)} bytes, expected 32")
    return secret
