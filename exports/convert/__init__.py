"""Convert Keras models to ONNX and TFLite; the only package of exports that imports TensorFlow."""
