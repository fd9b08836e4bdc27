"""The life of a job: one table; what is not in it is an error."""

from enum import StrEnum
from typing import Final

from jobs.errors import TransitionError


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    RELEASE = "release"
    POSTPONE = "postpone"
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"
    RETRY = "retry"


#: A running job is claimed again when its worker has died: its lease ran out. A job that is done is
#: retried for the films that failed.
TRANSITIONS: Final[dict[tuple[State, Action], State]] = {
    (State.QUEUED, Action.CLAIM): State.RUNNING,
    (State.QUEUED, Action.CANCEL): State.CANCELLED,
    (State.RUNNING, Action.CLAIM): State.RUNNING,
    (State.RUNNING, Action.RELEASE): State.QUEUED,
    (State.RUNNING, Action.POSTPONE): State.QUEUED,
    (State.RUNNING, Action.FINISH): State.DONE,
    (State.RUNNING, Action.FAIL): State.FAILED,
    (State.RUNNING, Action.CANCEL): State.CANCELLED,
    (State.DONE, Action.RETRY): State.QUEUED,
    (State.FAILED, Action.RETRY): State.QUEUED,
    (State.CANCELLED, Action.RETRY): State.QUEUED,
}

#: States in which there is still something to do.
OPEN: Final = (State.QUEUED, State.RUNNING)


def after(state: State, action: Action) -> State:
    """The state that follows.

    Raises:
        TransitionError: naming both, if the table does not know the pair.
    """
    try:
        return TRANSITIONS[state, action]
    except KeyError as error:
        raise TransitionError(f"a job that is {state} has no {action}") from error
