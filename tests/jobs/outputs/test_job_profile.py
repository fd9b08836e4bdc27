"""Profile of a job's time by stage."""

from jobs.outputs.observers import JobProfile
from queue_makers import FakeClock
from screening.inference.costs import Cost


def profiled(cores=2):
    clock = FakeClock()
    return JobProfile(cores, clock), clock


def table(profile):
    return {line[:18].strip(): line[18:].split() for line in profile.lines()}


def test_stages_are_shown_per_film_and_as_shares():
    profile, clock = profiled()
    clock.seconds += 1.5
    profile.started(None, 4, 4)
    profile.told([Cost(reading=0.001, decoding=0.008, inference=0.010)] * 2, 0.0)
    profile.told([Cost(decoding=0.004, preparing=0.002, answering=0.001)] * 2, 0.002)
    clock.seconds += 0.040
    profile.committed([], 0.002)
    profile.reported(None, 2.0)
    clock.seconds += 2
    shown = table(profile)
    assert shown["decoding"] == ["6.00", "43%"]
    assert shown["inference"] == ["5.00", "36%"]
    assert shown["rows"] == ["0.50", "4%"]
    assert shown["commits"] == ["0.50", "4%"]
    assert shown["all"] == ["14.00"]
    *_, pace, apart = profile.lines()
    assert pace.startswith("4 films in 0.0 s: 100.0 per second,")
    assert pace.endswith("70% of the 142.9 that 2 cores could do with these stages alone")
    assert apart == "start-up 1.5 s, report 2.0 s"


def test_lung_stage_is_shown_only_if_used():
    profile, clock = profiled()
    profile.told([Cost(inference=0.009)], 0.0)
    clock.seconds += 1
    assert "lungs" not in table(profile)
    profile.told([Cost(lungs=0.001)], 0.0)
    assert table(profile)["lungs"] == ["0.50", "10%"]


def test_job_without_films_has_no_stages():
    assert list(profiled()[0].lines()) == ["No film was screened."]
