"""Train a model from labelled films and write its card."""
