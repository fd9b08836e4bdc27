"""The ``screening`` command: builds a store, a predictor and an engine and connects them."""
