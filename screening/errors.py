"""Exceptions of this package; each message names the object, the value and what was expected."""


class ScreeningError(Exception):
    """An error that the user can fix: the message says what happened, where, and what to do."""


class UnreadableFilm(ScreeningError):
    """A file is a film by its signature or suffix but cannot be decoded.

    Args:
        code: a key of :data:`screening.results.FAILURES`.
        detail: what was wrong, without any value that could identify a patient.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class NotAFilm(ScreeningError):
    """The file does not contain an image."""


class DecoderError(ScreeningError):
    """No decoder process can be started."""


class CardError(ScreeningError):
    """A model card is missing, damaged or in an unknown format."""


class LabelsError(ScreeningError):
    """A labels file cannot be parsed."""


class ReportError(ScreeningError):
    """A report cannot be written with the given options."""


class KeyFileError(ScreeningError):
    """The key for hashing patient identifiers cannot be read or created."""


class TrainingDataError(ScreeningError):
    """The labelled films cannot be used for training as they are."""
