"""From rows to the report that an auditor reads."""
