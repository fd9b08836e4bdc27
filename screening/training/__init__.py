"""From labelled films to a model with its card."""
