"""Every error of this package; each message names the thing, the value and what was expected."""


class ScreeningError(Exception):
    """Something a user can mend: the message says what happened, where, and what to do."""


class UnreadableFilm(ScreeningError):
    """A file that is a film by its signature or suffix cannot be decoded.

    Args:
        code: a key of :data:`screening.results.FAILURES`.
        detail: what was wrong, without any value that could identify a patient.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class NotAFilm(ScreeningError):
    """A file that holds no image at all."""


class DecoderError(ScreeningError):
    """No process can be started that would decode films."""


class CardError(ScreeningError):
    """A model card is missing, damaged or of an unknown format."""


class LabelsError(ScreeningError):
    """A labels file cannot be understood."""


class ReportError(ScreeningError):
    """A report cannot be written as asked."""


class KeyFileError(ScreeningError):
    """The key that hides patient identifiers cannot be read or made."""


class TrainingDataError(ScreeningError):
    """Labelled films cannot be used for training as they are."""
