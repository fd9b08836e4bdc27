"""Why a film has no probability: a stable code and one sentence for each."""

from typing import Final

#: The file is no film that this model may read. That is an answer, not a fault.
REFUSALS: Final = {
    "not_image": "The file is not an image",
    "not_followed": "The entry is not a regular file inside the folder",
    "not_chest": "The header says that this is not a chest radiograph",
    "lateral": "The header says that this is a lateral view; the model reads frontal views",
    "too_small": "The film is too small to be read",
    "blank": "The film is blank",
}

#: The file should be a film but could not be read.
FAILURES: Final = {
    "empty": "The file is empty",
    "vanished": "The file disappeared after the job had listed it",
    "unreadable": "The file could not be opened",
    "not_decodable": "The image does not decode",
    "unsupported": "The image format is not supported",
    "too_large": "The film is larger than the limit",
    "no_score": "The model gave no valid probability",
}

DUPLICATES: Final = {
    "same_bytes": "Byte for byte the same file as",
}

_SENTENCES: Final = REFUSALS | FAILURES | DUPLICATES


def reason(code: str, detail: str = "") -> str:
    """Give the `reason` cell, ``code: Sentence (detail).``, its form.

    Raises:
        KeyError: if `code` is in no table; codes are part of the file format.
    """
    sentence = _SENTENCES[code]
    return f"{code}: {sentence} ({detail})." if detail else f"{code}: {sentence}."
