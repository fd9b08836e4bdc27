import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from screening.training.imagenet import _TensorUnpickler

REFERENCE = Path(__file__).parent / "lite0_reference.npy"


def test_ported_network_gives_the_logits_of_the_pytorch_reference():
    from reference_images import reference_images
    from screening.training.imagenet import imagenet_classifier

    logits = imagenet_classifier().predict_on_batch(reference_images())
    np.testing.assert_allclose(logits, np.load(REFERENCE), rtol=0, atol=1e-4)


def test_one_grey_channel_gives_the_same_embedding_as_three():
    import keras

    from screening.training.imagenet import load_imagenet_weights
    from screening.training.networks import efficientnet_lite0

    grey = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 1)).astype(np.float32)
    embeddings = []
    for channels in (1, 3):
        network = efficientnet_lite0((64, 64, channels))
        load_imagenet_weights(network)
        inner = keras.Model(network.input, network.output["embedding"])
        embeddings.append(inner.predict_on_batch(np.repeat(grey, channels, axis=-1)))
    np.testing.assert_allclose(embeddings[0], embeddings[1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("harmful", [print, eval, Path], ids=["print", "eval", "Path"])
def test_checkpoint_with_anything_but_tensors_is_refused(harmful):
    stream = BytesIO(pickle.dumps(harmful))
    with pytest.raises(pickle.UnpicklingError, match="is not allowed"):
        _TensorUnpickler(stream).load()
