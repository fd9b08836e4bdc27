"""Keyed hashes instead of names: the same patient gives the same hash, and nobody can go back."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self

from screening.errors import KeyFileError
from screening.pixels.signature import SUFFIXES
from screening.whole import sync


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
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return cls(_read_secret(path))
            with os.fdopen(handle, "w", encoding="ascii") as file:
                secret = secrets.token_bytes(32)
                file.write(secret.hex() + "\n")
            # No hash is given before the key that gives it again is on the disk.
            sync(path)
            sync(path.parent)
            return cls(secret)
        except OSError as error:
            raise KeyFileError(f"the key file {path} cannot be used: {error.strerror}") from error

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


def _read_secret(path: Path) -> bytes:
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError as error:
        raise KeyFileError(f"the key file {path} does not hold 64 hex digits") from error
    if len(secret) != 32:
        raise KeyFileError(f"the key file {path} holds {len(secret)} bytes, expected 32")
    return secret
