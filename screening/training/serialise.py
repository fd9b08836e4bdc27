"""Save a network as a file whose bytes, and so its hash, depend on the network alone."""

import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Final

import keras

_METADATA: Final = "metadata.json"

# Keras numbers shared objects by their memory address, which differs in each process. The layers of
# these networks share nothing but the name of their precision.
_SHARED: Final = re.compile(rb', "shared_object_id": \d+')


def save_network(network: keras.Model, path: Path) -> None:
    """Write ``path`` as Keras does, without dates and memory addresses.

    Raises:
        OSError: if the file cannot be written, for example on a full disk.
    """
    with tempfile.TemporaryDirectory() as place:
        written = Path(place) / path.name
        network.save(written)
        with zipfile.ZipFile(written) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                # The default date of ZipInfo is fixed (1980).
                target.writestr(zipfile.ZipInfo(name), _deterministic(name, source.read(name)))


def _deterministic(name: str, content: bytes) -> bytes:
    if name == _METADATA:
        metadata = json.loads(content)
        metadata.pop("date_saved", None)
        return json.dumps(metadata).encode()
    if name.endswith(".json"):
        return _SHARED.sub(b"", content)
    return content
