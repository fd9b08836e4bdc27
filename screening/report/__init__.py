"""Turn rows into the report that an auditor reads."""
