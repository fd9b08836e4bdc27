"""States of a job and their transitions."""

from itertools import product

import pytest

from jobs.errors import TransitionError
from jobs.queue.jobs import OPEN, TRANSITIONS, Action, State, after

# A second, independent copy of the table under test.
KNOWN = {
    ("queued", "claim"): "running",
    ("queued", "cancel"): "cancelled",
    ("running", "claim"): "running",
    ("running", "release"): "queued",
    ("running", "postpone"): "queued",
    ("running", "finish"): "done",
    ("running", "fail"): "failed",
    ("running", "cancel"): "cancelled",
    ("done", "retry"): "queued",
    ("failed", "retry"): "queued",
    ("cancelled", "retry"): "queued",
}
UNKNOWN = [pair for pair in product(State, Action) if (pair[0].value, pair[1].value) not in KNOWN]


@pytest.mark.parametrize(("pair", "following"), KNOWN.items(), ids="-".join)
def test_allowed_action_leads_to_its_state(pair, following):
    state, action = pair
    assert after(State(state), Action(action)) is State(following)


@pytest.mark.parametrize(("state", "action"), UNKNOWN)
def test_forbidden_action_raises_with_state_and_action(state, action):
    with pytest.raises(
        TransitionError, match=f"{action.value} is not allowed for a job that is {state.value}"
    ):
        after(state, action)


def test_all_pairs_of_state_and_action_are_tested():
    assert len(KNOWN) + len(UNKNOWN) == len(State) * len(Action)
    assert len(TRANSITIONS) == len(KNOWN)


@pytest.mark.parametrize("state", State)
def test_open_states_are_those_that_can_be_claimed(state):
    assert (state in OPEN) == ((state, Action.CLAIM) in TRANSITIONS)
