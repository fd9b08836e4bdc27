"""``screening sign``."""

from pathlib import Path

import click


@click.command()
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your private Ed25519 key: `openssl genpkey -algorithm ed25519 -out private.pem`.",
)
def sign(bundle: Path, key: Path) -> None:
    """Vouch for BUNDLE: runners that ask for your public key take it, and no altered one.

    Every file is checked first; then SHA256SUMS.sig is written beside SHA256SUMS.
    """
    from exports.bundle import Bundle
    from exports.signature import sign as sign_folder

    opened = Bundle.open(bundle)
    sign_folder(bundle, key)
    click.echo(f"{bundle}: {opened.card.model}, hash {opened.sha256[:16]}, signed")
