"""Batch job runner: command line, queue and worker."""
