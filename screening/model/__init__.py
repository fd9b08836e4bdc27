"""What a model is, without training."""
