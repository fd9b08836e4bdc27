"""Detect drift: compare the films of a night with earlier nights and the model's reference."""
