"""Read chest films: the results of each film and the row that it gets in a report."""

__version__ = "0.1.0"
