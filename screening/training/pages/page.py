"""Pages that hold all they show: one HTML file, no network, no script."""

from base64 import b64encode
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """The page of a template in ``screening/training/pages/templates``.

    Every value is escaped. Templates extend ``base.html.j2`` and may use the macros of
    ``parts.html.j2``; the filter ``image`` turns the path of a PNG into a data URI.

    Raises:
        jinja2.UndefinedError: if the template asks for a value that was not given.
    """
    return _environment().get_template(template).render(**values)


def image(path: Path) -> str:
    """A PNG as a data URI, so that the page can be mailed and archived as one file.

    Raises:
        OSError: if it cannot be read.
    """
    return f"data:image/png;base64,{b64encode(path.read_bytes()).decode()}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("screening.training.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["image"] = image
    return environment
