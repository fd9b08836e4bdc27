"""A network as a file whose bytes follow from the network alone, so that its hash names it."""

import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Final

import keras

_METADATA: Final = "metadata.json"

# Keras names what layers share by its place in memory, which is another one each time. The layers of
# these networks share nothing but the name of their precision.
_SHARED: Final = re.compile(rb', "shared_object_id": \d+')


def save_network(network: keras.Model, path: Path) -> None:
    """Write ``path`` as Keras does, without dates and places in memory.

    Raises:
        OSError: there is no room for it.
    """
    with tempfile.TemporaryDirectory() as place:
        written = Path(place) / path.name
        network.save(written)
        with zipfile.ZipFile(written) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                # ZipInfo's own date is 1980.
                target.writestr(zipfile.ZipInfo(name), _lasting(name, source.read(name)))


def _lasting(name: str, content: bytes) -> bytes:
    if name == _METADATA:
        metadata = json.loads(content)
        metadata.pop("date_saved", None)
        return json.dumps(metadata).encode()
    if name.endswith(".json"):
        return _SHARED.sub(b"", content)
    return content
