"""Make a folder of films and a MODEL that was trained with it."""

import csv
import hashlib
from dataclasses import replace

from exports.samples import films_to_calibrate, films_to_compare
from makers import encoded, grey_film, make_card
from screening.results import CLASSES, NORMAL, PNEUMONIA


def name_of(label, patient, number=1):
    """File name of a film of this patient in the style of the Kermany collection."""
    if label == PNEUMONIA:
        return f"{PNEUMONIA}/person{patient}_virus_{number}.png"
    return f"{NORMAL}/IM-{patient:04}-{number:04}.png"


class Collection:
    """Class folders and the MODEL that was trained with them."""

    def __init__(self, folder):
        self.data = folder / "data"
        self.model = folder / "model"
        self.model.mkdir()
        card = replace(make_card(), training={"data": str(self.data)})
        card.write(self.model)
        self.card = card.read(self.model)
        self._held_out = {"validation": [], "test": []}
        self._made = 0

    def add(self, side, normal, pneumonia, films=1):
        """Add films of patients with and without pneumonia; return their names."""
        names = []
        for label, patients in ((NORMAL, normal), (PNEUMONIA, pneumonia)):
            for _ in range(patients):
                self._made += 1
                names += [name_of(label, self._made, number) for number in range(1, films + 1)]
        for name in names:
            write_small(self.data / name)
        if side in self._held_out:
            self._held_out[side] += names
            for listed, films_of_it in self._held_out.items():
                write_list(self.model / f"{listed}.csv", films_of_it)
        return names

    def compared(self, films=None, training=()):
        return films_to_compare(self.model, self.card, films, training)

    def calibrated(self, training=()):
        return films_to_calibrate(self.model, self.card, training)

    def names(self, films):
        """Names of these films, in order."""
        by_hash = {sha256(path): path for path in self.data.rglob("*") if path.is_file()}
        return [by_hash[one].relative_to(self.data).as_posix() for one in films.sha256]


def write_small(path):
    """Write a small film that is different for each file name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4])
    path.write_bytes(encoded(grey_film(seed, side=16)))
    return path


def write_list(path, names):
    """Write a list of held-out films as in a MODEL, with other columns."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "film", "score"])
        writer.writerows(["1", name, "0.5"] for name in names)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def labels_of(names):
    return [CLASSES.index(name.partition("/")[0]) for name in names]
