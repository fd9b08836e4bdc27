import zipfile
from pathlib import Path

import exports
import screening
from exports.bundle import SHIPPED


def test_program_in_the_shipped_bundle_is_this_code():
    """If it is not, run: make shipped."""
    with zipfile.ZipFile(SHIPPED / "screen.pyz") as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    del packed["__main__.py"]
    roots = {"screening": Path(screening.__file__).parent, "exports": Path(exports.__file__).parent}
    for name, code in packed.items():
        package, _, inner = name.partition("/")
        assert (roots[package] / inner).read_bytes() == code, f"{name} has changed: make shipped"
    assert {"screening/inference/pipeline.py", "exports/edge/program.py"} <= packed.keys()


def test_shipped_bundle_is_small_enough_for_a_package():
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert size < 32_000_000
