"""The same seed gives the same network, to the last bit, on the same machine and backend."""

from typing import Final

import keras

#: What to say where :func:`compute_in_order` comes too late.
TOO_LATE: Final = "TensorFlow is in use already: the same seed may give slightly other figures"


def compute_in_order() -> bool:
    """Let TensorFlow compute its operations one after another, each on all cores as before.

    Otherwise it adds up the gradients of a tensor in the order in which they happen to be ready,
    and in floating point that gives other sums: figures of a finished model differ by a hundredth.

    Returns:
        False if it is too late, because this process has used TensorFlow already.
    """
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    try:
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return False
    return True
