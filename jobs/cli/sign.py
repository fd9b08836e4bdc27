"""``screening sign``."""

from pathlib import Path

import click

from jobs.cli.options import FILE, FOLDER


@click.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--key",
    required=True,
    type=FILE,
    help="Your private Ed25519 key: `openssl genpkey -algorithm ed25519 -out private.pem`.",
)
def sign(folder: Path, key: Path) -> None:
    """Sign a bundle or a report.

    Everybody who has your public key can then detect changes. All files of FOLDER
    are checked first. In a bundle, the signature is SHA256SUMS.sig; runners with
    --public-key accept only bundles that have one. In a report, it is audit.sig;
    `screening verify --public-key` checks it.
    """
    from exports.errors import SignatureError
    from exports.signature import SUMS
    from screening.audit import AUDIT

    is_bundle, is_report = (folder / SUMS).exists(), (folder / AUDIT).exists()
    if is_bundle == is_report:
        both = "both" if is_bundle else "neither of"
        raise SignatureError(
            f"{folder} holds {both} {SUMS}, as a bundle does, and {AUDIT}, as a report does; "
            "nothing was signed"
        )
    click.echo(_sign_bundle(folder, key) if is_bundle else _sign_report(folder, key))


def _sign_bundle(folder: Path, key: Path) -> str:
    from exports.bundle import Bundle
    from exports.signature import sign

    opened = Bundle.open(folder)
    sign(folder, key)
    return f"{folder}: {opened.card.model}, hash {opened.sha256[:16]}, signed"


def _sign_report(folder: Path, key: Path) -> str:
    from exports.errors import SignatureError
    from exports.signature import sign_report
    from screening.audit import AUDIT, SIGNATURE, read_audit
    from screening.printable import printable
    from screening.verification import verify

    # A signature that is there already is replaced, whatever it is.
    problems = [problem for problem in verify(folder) if problem.file != SIGNATURE]
    if problems:
        raise SignatureError(
            f"{folder} is not as it was written, so it is not signed: {printable(str(problems[0]))}"
        )
    head = read_audit((folder / AUDIT).read_bytes()).head
    sign_report(folder, head, key)
    return f"{folder}: report with the chain head {head[:16]}, signed"
