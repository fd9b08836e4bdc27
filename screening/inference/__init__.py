"""From one file to its result: read, decode, check, predict."""
