"""Two reports of the same films, side by side."""
