"""Who vouches for a bundle or a report: an Ed25519 signature (RFC 8032).

Of a bundle ``SHA256SUMS`` is signed; of a report the head of its audit's chain, as 64 hex digits in
ASCII. Keys are PEM files as OpenSSL makes them, and a signature is the 64 bytes that it takes:

    openssl genpkey -algorithm ed25519 -out private.pem
    openssl pkey -in private.pem -pubout -out public.pem
    openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig

The head is what stands before the last line's end, which has two bytes:

    tail -c 66 audit.csv | head -c 64 > head
    openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in head -sigfile audit.sig
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exports.errors import BundleError, SignatureError
from screening.audit import SIGNATURE as REPORT_SIGNATURE

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
