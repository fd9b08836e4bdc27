"""A bundle: a folder of data that cannot change unnoticed, and its signature.

Of a bundle ``SHA256SUMS`` is signed; of a report the head of its audit's chain, as 64 hex digits in
ASCII. Keys are PEM files as OpenSSL makes them, and a signature is the 64 bytes that it takes:

    openssl genpkey -algorithm ed25519 -out private.pem
    openssl pkey -in private.pem -pubout -out public.pem
    openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig

The head is what stands before the last line's end, which has two bytes:

    tail -c 66 audit.csv | head -c 64 > head
    openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in head -sigfile audit.sig
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from exports.errors import BundleError, SignatureError
from screening.audit import SIGNATURE as REPORT_SIGNATURE
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
        SignatureError: if the key cannot be read, or nothing can be written.
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
        head: of its audit's chain.

    Raises:
        SignatureError: if the key cannot be read, or nothing can be written.
    """
    signature = signer(private_key)(head)
    try:
        (folder / REPORT_SIGNATURE).write_bytes(signature)
    except OSError as error:
        raise SignatureError(f"{folder} cannot be signed: {error.strerror}") from error


def signer(private_key: Path) -> Callable[[str], bytes]:
    """What gives the signature over the head of a report's chain.

    Raises:
        SignatureError: if the key cannot be read; it is read now, and then never again.
    """
    _check_installed()
    key = _private(private_key)
    return lambda head: key.sign(head.encode("ascii"))


def verify(folder: Path, sums: bytes, public_key: Path) -> None:
    """Check that whoever has the other half of `public_key` has signed `sums`.

    Raises:
        BundleError: if the bundle is not signed, or by somebody else.
        SignatureError: if the key cannot be read.
    """
    _check_installed()
    key = _public(public_key)
    try:
        signature = (folder / SIGNATURE).read_bytes()
    except OSError as error:
        # Where the bundle is there and its signature is not, nobody need wait for a share to come back.
        away = None if isinstance(error, FileNotFoundError) else error
        raise BundleError(
            f"{folder} is not signed ({SIGNATURE}: {error.strerror}), and {public_key} asks for a "
            "signature; `screening sign` makes one"
        ) from away
    if not _fits(key, signature, sums):
        raise BundleError(f"{folder} is not signed with the key that {public_key} is of")


def is_signed_report(folder: Path, head: str, public_key: Path) -> bool:
    """True if whoever has the other half of `public_key` has signed a report.

    Args:
        head: of its audit's chain.

    Raises:
        SignatureError: if the key cannot be read.
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
    # A TypeError for a key with a password, a ValueError for anything else that is no key.
    except (TypeError, ValueError) as error:
        raise SignatureError(f"{path} holds no private key without a password: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path} holds a key of another kind than Ed25519")
    return key


def _public(path: Path) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(path))
    except ValueError as error:
        raise SignatureError(f"{path} holds no public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{path} holds a key of another kind than Ed25519")
    return key


def _check_installed() -> None:
    if find_spec("cryptography") is None:
        raise SignatureError(
            "signatures need cryptography, which is not installed; run: "
            "pip install 'screening[sign]'"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SignatureError(f"the key {path} cannot be read: {error.strerror}") from error


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
