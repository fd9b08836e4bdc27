"""Convert a trained model to a self-contained bundle that runs without TensorFlow."""
