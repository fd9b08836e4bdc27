"""Errors of the job runner; each message gives the object, the value and what was expected."""

from screening.errors import ScreeningError, TransientError


class JobsError(ScreeningError):
    """A problem with the queue or a job that the user can fix."""


class QueueError(JobsError):
    """The queue cannot be opened, or was written by another version."""


class QueueUnavailable(QueueError, TransientError):
    """The queue is temporarily unavailable: disk full, server down, or database locked."""


class UnknownJob(JobsError):
    """No job has this name."""


class TransitionError(JobsError):
    """The job's current state does not allow the requested action."""


class LeaseLost(JobsError):
    """Another worker has taken over this job; this worker must not write to it any more."""


class JobFailed(JobsError):
    """The job cannot be run as submitted."""


class FolderUnreadable(JobFailed, TransientError):
    """The folder cannot be listed at the moment."""


class ClusterUnusable(JobsError):
    """The address, certificates or packages for a cluster are missing, invalid or refused."""


class ClusterUnavailable(JobsError, TransientError):
    """The cluster is temporarily unavailable: no scheduler, no workers, or a share is missing."""


class SystemicFailure(JobFailed):
    """The job was aborted because too many films failed."""


class ReportExists(JobsError):
    """The report path lies inside the folder, or already exists."""


class StillChanging(JobsError):
    """The job has to wait; this is not a failure.

    Args:
        seconds: how long to wait before checking again.
    """

    def __init__(self, seconds: float, message: str) -> None:
        super().__init__(message)
        self.seconds = seconds


class Stopped(JobsError):
    """The worker was asked to stop; unfinished work stays in the queue."""


class ScheduleError(JobsError):
    """A schedule's times or folder template are invalid, or no schedule has this name."""


class UnusableNotification(JobsError):
    """The notification command or URL is invalid."""


class NotificationFailed(JobsError):
    """A job has ended, but the notification could not be delivered."""


class QuarantineError(JobsError, TransientError):
    """Failed or refused films could not be copied to the quarantine folder."""
