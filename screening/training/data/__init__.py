"""Labelled films: read, described and divided."""
