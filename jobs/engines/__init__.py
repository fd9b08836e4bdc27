"""Engines: distribute the films of a job over processors."""
