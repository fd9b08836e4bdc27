"""The small runtimes that run a converted model."""
