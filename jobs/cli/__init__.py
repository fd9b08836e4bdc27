"""The command ``screening``: where a store, a predictor and an engine are built and joined."""
