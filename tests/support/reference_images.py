"""Three reproducible images in the number range of the 1000-class network.

`lite0_reference.npy` contains the output of the PyTorch implementation in the package
``efficientnet-lite-pytorch`` 0.1.0 for these images, with the same checkpoint: 1000 logits each.
To reproduce it, with PyTorch installed:

    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=...).eval()
    network(torch.tensor(reference_images().transpose(0, 3, 1, 2)))
"""

import numpy as np
import numpy.typing as npt
from PIL import Image


def reference_images() -> npt.NDArray[np.float32]:
    """Smooth coloured noise at three scales, shape (3, 224, 224, 3), (v - 127) / 128."""
    rng = np.random.default_rng(20)
    pictures = []
    for cells in (4, 14, 56):
        coarse = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((224, 224), Image.Resampling.NEAREST)
        pictures.append(np.asarray(picture, np.float32))
    return (np.stack(pictures) - 127) / 128
