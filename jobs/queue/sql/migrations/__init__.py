"""Schema migrations of a queue: one step per file, never changed after its release."""
