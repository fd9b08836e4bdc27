"""Figures and HTML pages about a model and its data."""
