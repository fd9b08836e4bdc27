"""Turn one file into its result: read, decode, check, predict."""
