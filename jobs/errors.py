"""Errors of the job runner; each message names the thing, the value and what was expected."""

from screening.errors import ScreeningError


class JobsError(ScreeningError):
    """Something about the queue or a job that a user can mend."""


class QueueError(JobsError):
    """The queue cannot be opened, or was written by another version."""


class QueueUnavailable(QueueError):
    """The queue cannot be used just now: its disk is full, its server is away, it is locked."""


class UnknownJob(JobsError):
    """There is no job with this name."""


class TransitionError(JobsError):
    """A job cannot go from its state to the one asked for."""


class LeaseLost(JobsError):
    """Another worker has taken over this job; this one must not write any more."""


class JobFailed(JobsError):
    """A job cannot be carried out as it was submitted."""


class FolderUnreadable(JobFailed):
    """The folder cannot be listed just now."""


class ClusterUnusable(JobsError):
    """The address, the certificates or the packages for a cluster are not what they must be."""


class ClusterUnavailable(JobsError):
    """The cluster cannot be used just now: its scheduler is away, it has no worker, a share is away."""


class SystemicFailure(JobFailed):
    """So many films failed that the job was given up."""


class ReportExists(JobsError):
    """The report would lie inside the folder, or where something is already."""


class StillChanging(JobsError):
    """A job has to wait, and nothing is wrong with it.

    Args:
        seconds: after which it is worth another look.
    """

    def __init__(self, seconds: float, message: str) -> None:
        super().__init__(message)
        self.seconds = seconds


class Stopped(JobsError):
    """The worker was asked to stop; what it had not done is in the queue."""


class ScheduleError(JobsError):
    """A schedule's times or its folder template cannot be understood, or there is none of its name."""


class UnusableNotification(JobsError):
    """The command or the address that is to be told about jobs cannot be used as it is written."""


class NotificationFailed(JobsError):
    """A job has ended, and who was to be told could not be told."""


class QuarantineError(JobsError):
    """Films that failed or were refused could not be copied to where they were to be set aside."""
