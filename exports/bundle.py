"""Open, seal, sign and verify bundles; sign and verify reports.

A bundle is a folder whose files are listed with their hashes in ``SHA256SUMS``. Signing a bundle
signs ``SHA256SUMS``; signing a report signs the head of its audit chain, written as 64 hex digits
in ASCII. Keys are PEM files in the format of OpenSSL. A signature is the 64 raw bytes that OpenSSL
accepts:

    openssl genpkey -algorithm ed25519 -out private.pem
    openssl pkey -in private.pem -pubout -out public.pem
    openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig

The head is the 64 bytes before the two-byte line ending of the last line:

    tail -c 66 audit.csv | head -c 64 > head
    openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in head -sigfile audit.sig
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from exports.errors import BundleError, SignatureError
from screening.audit import SIGNATURE as REPORT_SIGNATURE
from screening.errors import FileUnavailable
from screening.model.card import Card, sha256_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = "SHA256SUMS.sig"


def sign(folder: Path, private_key: Path) -> None:
    """Write ``SHA256SUMS.sig`` into a bundle.

    Raises:
        FileUnavailable: if the key cannot be read.
        SignatureError: if the file is not a private key, or nothing can be written.
    """
    _check_installed()
    key = _private(private_key)
    try:
        (folder / SIGNATURE).write_bytes(key.sign((folder / SUMS).read_bytes()))
    except OSError as error:
        raise SignatureError(f"{folder} cannot be signed: {error.strerror}") from error


def sign_report(folder: Path, head: str, private_key: Path) -> None:
    """Write ``audit.sig`` into a report.

    Args:
        head: head of the report's audit chain.

    Raises:
        FileUnavailable: if the key cannot be read.
        SignatureError: if the file is not a private key, or nothing can be written.
    """
    signature = signer(private_key)(head)
    try:
        (folder / REPORT_SIGNATURE).write_bytes(signature)
    except OSError as error:
        raise SignatureError(f"{folder} cannot be signed: {error.strerror}") from error


def signer(private_key: Path) -> Callable[[str], bytes]:
    """Return a function that signs the head of a report's audit chain.

    The key is read once, by this call.

    Raises:
        FileUnavailable: if the key cannot be read.
        SignatureError: if the file is not a private key.
    """
    _check_installed()
    key = _private(private_key)
    return lambda head: key.sign(head.encode("ascii"))


def verify(folder: Path, sums: bytes, public_key: Path) -> None:
    """Check that `sums` was signed with the private key that belongs to `public_key`.

    Raises:
        BundleError: if the bundle is not signed, or is signed with another key.
        FileUnavailable: if the signature or the key cannot be read.
        SignatureError: if `public_key` is not a public key.
    """
    _check_installed()
    key = _public(public_key)
    with _reading(folder / SIGNATURE):
        try:
            signature = (folder / SIGNATURE).read_bytes()
        except FileNotFoundError as error:
            raise BundleError(
                f"{folder} is not signed ({SIGNATURE}: {error.strerror}), but the public key "
                f"{public_key} requires a signature; `screening sign` makes one"
            ) from error
    if not _fits(key, signature, sums):
        raise BundleError(f"the signature of {folder} does not match the public key {public_key}")


def is_signed_report(folder: Path, head: str, public_key: Path) -> bool:
    """Whether a report was signed with the private key that belongs to `public_key`.

    Args:
        head: head of the report's audit chain.

    Raises:
        FileUnavailable: if the key cannot be read.
        SignatureError: if the file is not a public key.
    """
    _check_installed()
    key = _public(public_key)
    try:
        signature = (folder / REPORT_SIGNATURE).read_bytes()
    except OSError:
        return False
    return _fits(key, signature, head.encode("ascii"))


def _fits(key: "Ed25519PublicKey", signature: bytes, content: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _private(path: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(path), password=None)
    # TypeError: the key has a password. ValueError: the file is not a private key.
    except (TypeError, ValueError) as error:
        raise SignatureError(f"{path} is not a private key without a password: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path} is not an Ed25519 key")
    return key


def _public(path: Path) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(path))
    except ValueError as error:
        raise SignatureError(f"{path} is not a public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{path} is not an Ed25519 key")
    return key


def _check_installed() -> None:
    if find_spec("cryptography") is None:
        raise SignatureError(
            "signatures need cryptography, which is not installed; run: "
            "pip install 'screening[sign]'"
        )


def _read(path: Path) -> bytes:
    with _reading(path):
        return path.read_bytes()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise FileUnavailable instead of an error of the file system, which may not name the file."""
    try:
        yield
    except OSError as error:
        raise FileUnavailable(f"{path} cannot be read: {error.strerror}") from error


#: Folder of the bundle that is installed with this package, built by the documented commands.
SHIPPED: Final = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files match its ``SHA256SUMS``.

    Attributes:
        path: absolute path of the folder.
        card: model card of the bundle.
        sha256: hash of ``SHA256SUMS``, which identifies the whole bundle.
    """

    path: Path
    card: Card
    sha256: str

    @classmethod
    def open(cls, path: Path, public_key: Path | None = None) -> Self:
        """Check the hash of every file and read the card.

        Args:
            public_key: PEM file; if given, the bundle must be signed with the matching private key.

        Raises:
            BundleError: if `path` is not a bundle, a file is missing, added or altered, or the
                signature is missing or does not match `public_key`.
            FileUnavailable: if a file cannot be read, or a share seems not to be mounted.
            SignatureError: if `public_key` is not a public key.
        """
        content = _read_sums(path)
        if public_key is not None:
            verify(path, content, public_key)
        stated = _parse(content, path / SUMS)
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
    """Write ``SHA256SUMS`` for every file of `folder`, in the format of ``sha256sum``.

    An existing signature is removed, because it no longer applies.
    """
    (folder / SIGNATURE).unlink(missing_ok=True)
    lines = [f"{sha256}  {name}\n" for name, sha256 in _hashes(folder).items()]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _read_sums(folder: Path) -> bytes:
    sums = folder / SUMS
    with _reading(sums):
        try:
            return sums.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            problem = f"{folder} is not a bundle: {SUMS}: {error.strerror}"
            place = next(place for place in (folder, *folder.parents) if place.is_dir())
            # A mount point is empty while its share is not mounted.
            if not any(place.iterdir()):
                raise FileUnavailable(
                    f"{problem}; {place} is empty: is its share mounted?"
                ) from error
            raise BundleError(f"{problem}; `screening export` makes one") from error


def _hashes(folder: Path) -> dict[str, str]:
    with _reading(folder):
        paths = sorted(folder.rglob("*"))
    for path in paths:
        # The target of a link could change after the check.
        if path.is_symlink():
            raise BundleError(
                f"{folder} contains a link, {path.relative_to(folder)}; replace it by a copy of the file"
            )
    about = (folder / SUMS, folder / SIGNATURE)
    hashes = {}
    for path in paths:
        with _reading(path):
            if path.is_file() and path not in about:
                hashes[path.relative_to(folder).as_posix()] = sha256_of(path)
    return hashes


def _parse(content: bytes, sums: Path) -> dict[str, str]:
    """Parse the lines of ``sha256sum`` into a dictionary from file name to hash."""
    stated = {}
    for line in content.decode("utf-8", "replace").splitlines():
        sha256, separator, name = line.partition("  ")
        if len(sha256) != 64 or not separator:
            raise BundleError(f"{sums} is damaged: {line[:80]!r}")
        stated[name] = sha256
    return stated
