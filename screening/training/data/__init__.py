"""Read, describe and split labelled films."""
