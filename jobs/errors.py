"""Errors of the job runner; each message names the thing, the value and what was expected."""

from screening.errors import ScreeningError


class JobsError(ScreeningError):
    """Something about the queue or a job that a user can mend."""


class QueueError(JobsError):
    """The queue cannot be opened, or was written by another version."""


class UnknownJob(JobsError):
    """There is no job with this name."""


class TransitionError(JobsError):
    """A job cannot go from its state to the one asked for."""


class LeaseLost(JobsError):
    """Another worker has taken over this job; this one must not write any more."""


class JobFailed(JobsError):
    """A job cannot be carried out as it was submitted."""


class SystemicFailure(JobFailed):
    """So many films failed that the job was given up."""


class ReportInTheWay(JobsError):
    """The report would lie inside the folder, or where something is already."""
