import numpy as np
import pytest

from makers import grey_film
from screening.gate import refuse_by_header, refuse_by_pixels
from screening.pixels.film import Header


def grey(rows: int, columns: int) -> np.ndarray:
    film = grey_film(1, side=max(rows, columns)).astype(np.float32) / np.float32(255)
    return film[:rows, :columns]


def test_a_film_that_says_nothing_about_itself_may_be_read() -> None:
    assert refuse_by_header(Header()) is None


# CR, DX, RG: PS3.3 C.7.3.1.1.1; SC, OT: converted and digitised films.
@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "SC", "OT"])
def test_radiographs_may_be_read(modality: str) -> None:
    assert refuse_by_header(Header(modality=modality)) is None


@pytest.mark.parametrize("modality", ["CT", "MR", "US", "MG", "NM", "PT", "ECG", "SR"])
def test_other_modalities_are_refused(modality: str) -> None:
    said = refuse_by_header(Header(modality=modality))
    assert said is not None
    assert said.startswith("not_chest: ")
    assert modality in said


@pytest.mark.parametrize("part", ["CHEST", "THORAX", "LUNG", "CHEST PA", "CHESTABDOMEN"])
def test_chests_may_be_read(part: str) -> None:
    assert refuse_by_header(Header(body_part_examined=part)) is None


@pytest.mark.parametrize("part", ["HAND", "ABDOMEN", "SKULL", "LSPINE"])
def test_other_body_parts_are_refused(part: str) -> None:
    said = refuse_by_header(Header(modality="DX", body_part_examined=part))
    assert said is not None
    assert said.startswith("not_chest: ")
    assert part in said


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "LAT"])
def test_lateral_views_are_refused(view: str) -> None:
    said = refuse_by_header(Header(view_position=view))
    assert said is not None
    assert said.startswith("lateral: ")


# LLD and RLD are decubitus: the patient lies on the side, the view is frontal (PS3.3 C.8.11.5).
@pytest.mark.parametrize("view", ["", "PA", "AP", "LLD", "RLD"])
def test_frontal_views_may_be_read(view: str) -> None:
    assert refuse_by_header(Header(view_position=view)) is None


def test_free_text_in_a_code_is_cut_to_the_length_of_a_code() -> None:
    said = refuse_by_header(Header(body_part_examined="LEFT HAND OF MRS MUSTERFRAU"))
    assert said is not None
    assert "LEFT HAND OF MRS" in said
    assert "MUSTER" not in said


@pytest.mark.parametrize(("rows", "columns"), [(95, 512), (512, 95), (1, 1)])
def test_a_film_with_a_side_under_96_pixels_is_too_small(rows: int, columns: int) -> None:
    said = refuse_by_pixels(grey(rows, columns))
    assert said is not None
    assert said.startswith("too_small: ")
    assert f"{rows} x {columns}" in said


@pytest.mark.parametrize(("rows", "columns"), [(96, 96), (96, 512), (512, 96)])
def test_a_film_with_96_pixels_is_large_enough(rows: int, columns: int) -> None:
    assert refuse_by_pixels(grey(rows, columns)) is None


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_an_even_film_is_blank(level: float) -> None:
    said = refuse_by_pixels(np.full((128, 128), level, np.float32))
    assert said is not None
    assert said.startswith("blank: ")


# Half black, half 2 d: the standard deviation is d.
@pytest.mark.parametrize(("deviation", "blank"), [(0.009, True), (0.011, False)])
def test_a_film_is_blank_under_a_hundredth_of_deviation(deviation: float, blank: bool) -> None:
    film = np.zeros((128, 128), np.float32)
    film[:64] = 2 * deviation
    assert (refuse_by_pixels(film) is not None) == blank
