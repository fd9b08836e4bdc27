"""Lung results of films, from inference to the report."""

import pickle
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lung_makers import DarkLungs, Mask, ellipse, lung_film, two_lungs
from makers import BrightnessPredictor, encoded
from screened_folders import screen
from screening.files import discover
from screening.inference.heatmap import OUTLINE, strip_rows
from screening.inference.pipeline import Screener, Seen
from screening.inference.report_images import ReportImages
from screening.model.lung_reading import LungReader
from screening.model.lungs import LungCard
from screening.model.predictor import Prediction
from screening.results import Row, Status
from tiny_model import brightness_gate

ONE_LUNG = ellipse(0.28, 0.5, 0.2, 0.35)
SMALL_LUNGS = two_lungs(width=0.1, height=0.2)


class Mapping(BrightnessPredictor):
    """A predictor with 10 logits of evidence for each white cell of 4 x 4, and 0 for a grey one."""

    has_map = True

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        cells = tensors.reshape(-1, 4, 8, 4, 8).mean(axis=(2, 4))
        maps = np.stack([0 * cells, 20 * cells - 10], axis=-1)
        rows = tensors.mean(axis=(2, 3))
        return replace(super().predict(tensors), maps=maps, embeddings=rows)


@pytest.fixture
def network() -> DarkLungs:
    return DarkLungs()


@pytest.fixture
def lungs(screener: Screener, network: DarkLungs) -> Screener:
    """Screens by brightness, with a lung network that takes dark pixels for lungs."""
    return replace(screener, predictor=Mapping(), lungs=LungReader(network, LungCard()))


def put(folder: Path, name: str, mask: Mask, inside: float = 0.2, beside: float = 0.8) -> None:
    (folder / name).write_bytes(encoded(lung_film(mask, inside, beside)))


def codes(row: Row) -> list[str]:
    return [one.code for one in row.warnings]


def refusing(screener: Screener, *refused: str) -> Screener:
    assert screener.lungs is not None
    return replace(screener, lungs=replace(screener.lungs, refused=refused))


def test_row_has_lung_area_and_lung_evidence(lungs: Screener, folder: Path) -> None:
    put(folder, "a.png", two_lungs())
    (row,) = screen(lungs).values()
    assert row.lung_area == pytest.approx(two_lungs().mean(), abs=0.05)
    # The lungs are dark: the bright pixels lie outside.
    assert row.lung_evidence is not None
    assert row.lung_evidence < 0.3
    assert row.lung_area == round(row.lung_area, 4)


def test_pneumonia_on_evidence_outside_the_lungs_has_a_warning(
    lungs: Screener, folder: Path
) -> None:
    put(folder, "called.png", two_lungs())
    put(folder, "normal.png", two_lungs(), inside=0.1, beside=0.58)
    rows = screen(lungs)
    assert (rows["called.png"].prediction, rows["normal.png"].prediction) == ("PNEUMONIA", "NORMAL")
    assert codes(rows["called.png"]) == ["low_lung_evidence"]
    assert "inside, at least 0.5 is expected" in rows["called.png"].warnings[0].detail
    assert codes(rows["normal.png"]) == []
    assert rows["normal.png"].lung_evidence is not None


def test_card_sets_the_limit_of_low_evidence(
    lungs: Screener, folder: Path, network: DarkLungs
) -> None:
    put(folder, "a.png", two_lungs())
    lenient = replace(lungs, lungs=LungReader(network, LungCard(low_evidence=0.0)))
    assert codes(screen(lenient)["a.png"]) == []


def test_evidence_inside_the_lungs_gives_no_warning(lungs: Screener, folder: Path) -> None:
    put(folder, "a.png", two_lungs(width=0.2, height=0.4), inside=0.95, beside=0.3)
    bright = replace(lungs, lungs=LungReader(DarkLungs(1), LungCard()))
    (row,) = screen(bright).values()
    assert (row.prediction, codes(row)) == ("PNEUMONIA", [])
    assert row.lung_evidence is not None
    assert row.lung_evidence > 0.6


def test_lung_evidence_is_none_without_evidence_for_pneumonia(
    lungs: Screener, folder: Path
) -> None:
    put(folder, "a.png", two_lungs(), inside=0.1, beside=0.4)
    (row,) = screen(lungs).values()
    assert (row.lung_evidence, row.lung_area) == (None, pytest.approx(0.264, abs=0.05))


def test_model_without_a_map_gives_only_the_lung_area(lungs: Screener, folder: Path) -> None:
    put(folder, "a.png", SMALL_LUNGS)
    (row,) = screen(replace(lungs, predictor=BrightnessPredictor())).values()
    assert row.lung_evidence is None
    assert codes(row) == ["lungs_small"]


def test_quality_problem_is_a_warning_and_keeps_the_score(lungs: Screener, folder: Path) -> None:
    put(folder, "one.png", ONE_LUNG)
    put(folder, "small.png", SMALL_LUNGS)
    plain, found = screen(replace(lungs, lungs=None)), screen(lungs)
    assert codes(found["one.png"]) == ["lungs_asymmetric", "low_lung_evidence"]
    assert codes(found["small.png"]) == ["lungs_small", "low_lung_evidence"]
    for name, row in plain.items():
        assert (row.lung_area, row.lung_evidence, row.warnings) == (None, None, ())
        assert (found[name].probability, found[name].prediction) == (
            row.probability,
            row.prediction,
        )


def test_refused_quality_problem_is_not_a_warning(lungs: Screener, folder: Path) -> None:
    put(folder, "good.png", two_lungs())
    put(folder, "one.png", ONE_LUNG)
    put(folder, "small.png", SMALL_LUNGS)
    rows = screen(refusing(lungs, "lungs_asymmetric"))
    assert rows["one.png"].status is Status.REFUSED
    assert rows["one.png"].reason.code == "lungs_asymmetric"
    assert (rows["one.png"].probability, rows["one.png"].lung_evidence) == (None, None)
    assert rows["one.png"].lung_area is not None
    assert [rows[name].status for name in ("good.png", "small.png")] == [Status.SCORED] * 2


def test_lungs_of_a_refused_film_are_not_segmented(
    lungs: Screener, folder: Path, network: DarkLungs
) -> None:
    put(folder, "a.png", two_lungs())
    put(folder, "b.png", two_lungs(), beside=0.4)
    gated = replace(lungs, card=replace(lungs.card, gate=brightness_gate()))
    rows = screen(gated)
    assert [rows[name].status for name in ("a.png", "b.png")] == [Status.SCORED, Status.REFUSED]
    assert rows["b.png"].lung_area is None
    assert network.asked == [1]


def test_lungs_of_copies_are_segmented_once(
    lungs: Screener, folder: Path, network: DarkLungs
) -> None:
    put(folder, "a.png", two_lungs())
    put(folder, "b.png", two_lungs())
    assert screen(lungs)["b.png"].status is Status.DUPLICATE
    assert network.asked == [1]


def test_lungs_are_a_stage_of_the_cost(lungs: Screener, folder: Path) -> None:
    put(folder, "a.png", two_lungs())
    (examined,) = lungs.examine(discover(folder), Seen())
    assert examined.film.cost.lungs > 0
    (plain,) = replace(lungs, lungs=None).examine(discover(folder), Seen())
    assert plain.film.cost.lungs == 0


def test_lung_findings_survive_pickling(lungs: Screener, folder: Path) -> None:
    put(folder, "a.png", ONE_LUNG)
    (examined,) = lungs.examine(discover(folder), Seen())
    sent = pickle.dumps(examined)
    assert len(sent) < 2000
    assert pickle.loads(sent).lungs == examined.lungs  # noqa: S301  # its own


def test_images_outline_the_lungs(lungs: Screener, folder: Path, tmp_path: Path) -> None:
    put(folder, "a.png", two_lungs())
    drawn = []
    for one in (lungs, replace(lungs, lungs=None)):
        gallery = ReportImages(tmp_path / f"{len(drawn)}", heatmaps=True, thumbnails=True)
        (row,) = screen(replace(one, gallery=gallery)).values()
        heat, small = (gallery.aside / Path(place).name for place in (row.heatmap, row.thumbnail))
        drawn.append([Image.open(BytesIO(path.read_bytes())) for path in (heat, small)])
    (heat, small), (plain, grey) = drawn
    assert heat.height - plain.height == strip_rows(lungs=True) - strip_rows(lungs=False)
    assert OUTLINE in {colour for _count, colour in heat.getcolors(2**20)}
    assert OUTLINE not in {colour for _count, colour in plain.getcolors(2**20)}
    assert (small.mode, grey.mode) == ("RGB", "L")
