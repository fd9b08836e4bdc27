"""What a chest film is, and how one film becomes one row of a report."""

__version__ = "0.1.0"
