"""The pages of a report and of a model card: what they share, and the report's own."""
