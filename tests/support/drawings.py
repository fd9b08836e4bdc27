"""Read properties of figures in tests."""

import hashlib

from matplotlib.figure import Figure


def hashes(folder):
    """Return the SHA-256 of each file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def axes():
    """Return axes to draw on."""
    return Figure().subplots()


def lines(axes):
    """Return the points of each labelled line."""
    return {line.get_label(): line.get_xydata() for line in axes.lines}
