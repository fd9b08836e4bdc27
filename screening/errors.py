"""Exceptions of this package; each message names the object, the value and what was expected."""


class ScreeningError(Exception):
    """An error that the user can fix: the message says what happened, where, and what to do."""


class TransientError(ScreeningError):
    """An error that may go away by itself, so that a retry may succeed."""


class FileUnavailable(TransientError):
    """A file or folder cannot be read or written at the moment, such as one on a missing share."""


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


class DecoderError(TransientError):
    """No decoder process can be started."""


class CardError(ScreeningError):
    """A model card is missing, damaged or in an unknown format."""


class LabelsError(ScreeningError):
    """A labels file cannot be parsed."""


class ReportError(ScreeningError):
    """A report is damaged, or cannot be written with the given options."""


class KeyFileError(ScreeningError):
    """The file with the key for hashing patient identifiers is damaged, or has another key."""


class TrainingDataError(ScreeningError):
    """The labelled films cannot be used for training as they are."""
