"""Decode file bytes to grey values: one reader per format."""
