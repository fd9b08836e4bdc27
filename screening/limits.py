"""What one film may cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Frozen with the job.

    Attributes:
        pixels: of the film, checked before it is unpacked. A 43 cm detector at 100 um has
            18 million.
        seconds: until a decoder is stopped.
        memory: bytes that a decoder may ask for.
    """

    pixels: int = 100_000_000
    seconds: float = 30.0
    memory: int = 4 * 1024**3
