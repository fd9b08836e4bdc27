"""Errors of exports; each message names the thing, the value and what was expected."""

from screening.errors import ScreeningError


class ExportError(ScreeningError):
    """A model cannot be converted, or its conversion changes decisions."""


class BundleError(ScreeningError):
    """A bundle is incomplete, damaged or altered."""


class RuntimeMissing(ScreeningError):
    """The runtime that a target needs is not installed."""


class SignatureError(ScreeningError):
    """A bundle or report cannot be signed, or its signature cannot be checked."""
