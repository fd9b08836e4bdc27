"""From a Keras model to the formats of the runtimes; the only room here that knows TensorFlow."""
