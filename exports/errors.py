"""Exceptions of exports. Each message names the item, its value and the expected value."""

from screening.errors import ScreeningError


class ExportError(ScreeningError):
    """Raised if a model cannot be converted, or if the conversion changes decisions."""


class BundleError(ScreeningError):
    """Raised if a bundle is incomplete, damaged or altered."""


class RuntimeMissing(ScreeningError):
    """Raised if the runtime that a target needs is not installed."""


class SignatureError(ScreeningError):
    """Raised if a bundle or report cannot be signed, or its signature cannot be checked."""
