"""What a film can show, in the order of the model's outputs."""

from typing import Final

NORMAL: Final = "NORMAL"
PNEUMONIA: Final = "PNEUMONIA"

#: Index in this tuple = column of the model's score.
CLASSES: Final = (NORMAL, PNEUMONIA)
POSITIVE: Final = CLASSES.index(PNEUMONIA)
