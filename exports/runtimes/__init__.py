"""Load converted models in their runtimes, ONNX Runtime and LiteRT."""
