"""How good a fitted network is, here and elsewhere."""
