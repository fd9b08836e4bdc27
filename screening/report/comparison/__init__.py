"""Compare two reports of the same films."""
