"""Are a night's films still like the site's last ones, and like those its model was made with?"""

from collections.abc import Iterable, Iterator, Sequence

from screening.reference import Reference
from screening.report.drift.last_nights import with_last_nights
from screening.report.drift.lines import FEWEST, Drift
from screening.report.drift.model_reference import with_reference
from screening.report.drift.profile import Profile, merged


def control(
    tonight: Profile, earlier: Sequence[Profile], reference: Reference | None
) -> list[Drift]:
    """Compare a night with the last ones of its site and with its model's reference.

    Args:
        tonight: so few films that they are no night go together with those of the nights before.
        earlier: nights of the same site and model, oldest first.
        reference: from the model's card.
    """
    nights = list(map(merged, _together([tonight, *reversed(earlier)])))
    return [*with_last_nights(nights), *with_reference(nights[0], reference)]


def _together(profiles: Iterable[Profile]) -> Iterator[list[Profile]]:
    """Neighbours that are enough films for a night, but for the last ones."""
    night: list[Profile] = []
    for profile in profiles:
        night.append(profile)
        if sum(each.offered for each in night) >= FEWEST:
            yield night
            night = []
    if night:
        yield night
