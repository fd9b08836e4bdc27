"""Why a film has no probability, or a warning: a stable code and one sentence for each."""

from typing import Final

#: What is wrong with the lung fields of a film: a warning, or with --refuse a refusal.
_LUNGS: Final = {
    "lungs_not_found": "No lungs were found on the film",
    "lungs_cut_off": "The lungs are cut off at an edge of the film",
    "lungs_small": "The lungs are small on the film",
    "lungs_tilted": "The lungs are tilted",
    "lungs_asymmetric": "One lung is much smaller than the other",
}

#: The file is no film that this model may read. That is an answer, not a fault.
REFUSALS: Final = {
    "not_image": "The file is not an image",
    "not_followed": "The entry is not a regular file inside the folder",
    "not_chest": "The header says that this is not a chest radiograph",
    "lateral": "The header says that this is a lateral view; the model reads frontal views",
    "too_small": "The film is too small to be read",
    "blank": "The film is blank",
    "not_frontal_chest": "The picture does not look like a frontal chest film",
    **_LUNGS,
}

#: The file should be a film but could not be read.
FAILURES: Final = {
    "empty": "The file is empty",
    "vanished": "The file disappeared after the job had listed it",
    "unreadable": "The file could not be opened",
    "not_decodable": "The image does not decode",
    "unsupported": "The image format is not supported",
    "too_large": "The film is larger than the limit",
    "decode_timeout": "The decoder was stopped because it took too long",
    "out_of_memory": "Decoding needs more memory than the limit",
    "decoder_crashed": "The decoder crashed",
    "killed_worker": "The film was in hand when its worker died, twice",
    "no_score": "The model gave no valid probability",
    "not_screened": "The job was stopped before it reached this film",
}

DUPLICATES: Final = {
    "same_bytes": "Byte for byte the same file as",
    "already_screened": "A finished job has scored this file",
}

#: The film has a probability, and something that its reader should know.
WARNINGS: Final = {
    "multi_frame": "Only the first frame was read",
    "header_ignored": "What the header says of the grey values makes no sense and was not used",
    "same_pixels": "The pixels are those of another film",
    "out_of_domain": "The film is unlike those that the model was trained on",
    "age_not_trained": "The model was trained on no patient of about this age",
    "inverted": "The film looks like a negative: black and white seem to be exchanged",
    "rotated": "The film does not look upright",
    **_LUNGS,
    "low_lung_evidence": "Most of the evidence for pneumonia lies outside the lungs",
}

_SENTENCES: Final = REFUSALS | FAILURES | DUPLICATES | WARNINGS


def reason(code: str, detail: str = "") -> str:
    """Give the `reason` cell, ``code: Sentence (detail).``, its form.

    Raises:
        KeyError: if `code` is in no table; codes are part of the file format.
    """
    sentence = _SENTENCES[code]
    return f"{code}: {sentence} ({detail})." if detail else f"{code}: {sentence}."
