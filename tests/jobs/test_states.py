"""The life of a job."""

from itertools import product

import pytest

from jobs.errors import TransitionError
from jobs.queue.jobs import OPEN, TRANSITIONS, Action, State, after

# Written out once more, by hand: the table under test must not check itself.
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
def test_a_known_pair_leads_to_its_state(pair, following):
    state, action = pair
    assert after(State(state), Action(action)) is State(following)


@pytest.mark.parametrize(("state", "action"), UNKNOWN)
def test_an_unknown_pair_is_an_error_that_names_both(state, action):
    with pytest.raises(TransitionError, match=f"{state.value} has no {action.value}"):
        after(state, action)


def test_every_pair_of_state_and_action_is_either_known_or_tested_as_unknown():
    assert len(KNOWN) + len(UNKNOWN) == len(State) * len(Action)
    assert len(TRANSITIONS) == len(KNOWN)


@pytest.mark.parametrize("state", State)
def test_a_state_is_open_if_a_worker_can_still_claim_it(state):
    assert (state in OPEN) == ((state, Action.CLAIM) in TRANSITIONS)
