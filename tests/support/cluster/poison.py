"""Dask worker preload for tests: reading the film with the hash in POISON aborts the process."""

import os

from screening.inference.reader import Reader


def dask_setup(_worker):
    """Called by Dask when the worker starts."""
    opened = Reader._opened

    def deadly(self, name, sha256, *more):
        if sha256 == os.environ.get("POISON"):
            os.abort()
        return opened(self, name, sha256, *more)

    Reader._opened = deadly
