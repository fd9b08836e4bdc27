"""Large numbers of small films, generated with a seed."""

from pathlib import Path

from makers import dicom_bytes, dicom_film, encoded, grey_film

#: One film in this many is DICOM, which is decoded in a separate process.
_DICOM = 50


def write_films(folder: Path, number: int, seed: int = 0) -> list[str]:
    """Write films and return their names, in order; no two have the same pixels."""
    folder.mkdir(parents=True)
    names = []
    for index in range(number):
        grey = grey_film(seed + index, 0.3 + 0.4 * (index % 7) / 7, side=112)
        if index % _DICOM == _DICOM - 1:
            name, data = f"{index:05}.dcm", dicom_bytes(dicom_film(grey, PatientID=str(index)))
        else:
            name, data = f"{index:05}.png", encoded(grey)
        (folder / name).write_bytes(data)
        names.append(name)
    return names
