"""How a trained model becomes a bundle that runs anywhere."""
