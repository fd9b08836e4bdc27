"""From the bytes of a file to grey values: one reader for each format."""
