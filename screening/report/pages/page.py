"""Pages that hold all they show: one HTML file, no network, no script."""

from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

_SHARED: Final = "screening.report.pages"


def render(template: str, package: str = _SHARED, **values: Any) -> str:
    """The page of a template in the folder ``templates`` of a package.

    Every value is escaped. Templates extend ``base.html.j2`` and may use the macros of
    ``parts.html.j2``, whatever package they are in; the filter ``image`` turns the path of a
    PNG into a data URI.

    Raises:
        jinja2.UndefinedError: if the template asks for a value that was not given.
    """
    return _environment(package).get_template(template).render(**values)


def image(path: Path) -> str:
    """A PNG as a data URI, so that the page can be mailed and archived as one file.

    Raises:
        OSError: if it cannot be read.
    """
    return data_uri(path.read_bytes(), "png")


def data_uri(picture: bytes, kind: str) -> str:
    """The bytes of a picture as a URI; `kind` is ``png`` or ``jpeg``."""
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, _SHARED))]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["image"] = image
    return environment
