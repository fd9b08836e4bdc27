import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from makers import dicom_film
from screening.errors import UnreadableFilm
from screening.pixels.rendering import render

TWELVE_BIT = {"BitsStored": 12, "HighBit": 11}
STORED = np.arange(0, 4096, 8, dtype=np.uint16).reshape(16, 32)
X = STORED.astype(float)


def shown(stored: np.ndarray = STORED, **attributes: object) -> np.ndarray:
    grey = render(dicom_film(stored, **TWELVE_BIT | attributes), stored)
    assert grey.dtype == np.float32
    return grey


def linear(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, for an output range of 0 to 1."""
    y = (x - (centre - 0.5)) / (width - 1) + 0.5
    below = x <= centre - 0.5 - (width - 1) / 2
    above = x > centre - 0.5 + (width - 1) / 2
    return np.select([below, above], [0.0, 1.0], y)


def linear_exact(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.3.2, for an output range of 0 to 1."""
    y = (x - centre) / width + 0.5
    return np.select([x <= centre - width / 2, x > centre + width / 2], [0.0, 1.0], y)


def sigmoid(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.3.1, for an output range of 0 to 1."""
    return 1 / (1 + np.exp(-4 * (x - centre) / width))


def table(values: np.ndarray, bits: int, first: int = 0) -> Sequence:
    """A lookup table (PS3.3 C.11.1.1, C.11.2.1.1) with `values` from the stored value `first`."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    item.add_new("LUTData", "US", [int(value) for value in values])
    return Sequence([item])


@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000, 500), (600.5, 33), (2048, 2)])
def test_a_window_is_linear_unless_it_says_otherwise(centre: float, width: float) -> None:
    grey = shown(WindowCenter=centre, WindowWidth=width)
    np.testing.assert_allclose(grey, linear(X, centre, width), atol=1e-5)


def test_the_narrowest_window_is_a_threshold() -> None:
    grey = shown(WindowCenter=2000, WindowWidth=1)
    np.testing.assert_array_equal(grey, X > 1999.5)


@pytest.mark.parametrize(
    ("function", "formula"),
    [("LINEAR", linear), ("LINEAR_EXACT", linear_exact), ("SIGMOID", sigmoid)],
)
def test_a_window_is_the_function_that_it_names(function: str, formula: object) -> None:
    grey = shown(WindowCenter=1500, WindowWidth=900, VOILUTFunction=function)
    np.testing.assert_allclose(grey, formula(X, 1500, 900), atol=1e-5)


def test_the_first_of_several_windows_is_used() -> None:
    grey = shown(WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    np.testing.assert_allclose(grey, linear(X, 1000, 500), atol=1e-5)


@pytest.mark.parametrize(
    "half", [{"WindowCenter": 1000}, {"WindowCenter": 1000, "WindowWidth": None}], ids=str
)
def test_half_a_window_is_no_window(half: dict[str, object]) -> None:
    np.testing.assert_array_equal(shown(**half), shown())


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1024), (0.25, 10)])
def test_a_window_is_in_rescaled_values(slope: float, intercept: float) -> None:
    centre, width = 1200 * slope + intercept, 900 * slope
    grey = shown(
        WindowCenter=centre, WindowWidth=width, RescaleSlope=slope, RescaleIntercept=intercept
    )
    np.testing.assert_allclose(grey, linear(X * slope + intercept, centre, width), atol=1e-5)


def test_a_falling_rescale_turns_the_film_round_under_a_window() -> None:
    grey = shown(WindowCenter=2048, WindowWidth=4096, RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_allclose(grey, linear(4095 - X, 2048, 4096), atol=1e-5)


def test_a_falling_rescale_turns_the_film_round_without_a_window() -> None:
    grey = shown(RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_allclose(grey, 1 - shown(), atol=1e-5)


def test_a_modality_table_comes_before_the_window() -> None:
    squared = np.arange(4096) ** 2 >> 8
    grey = shown(ModalityLUTSequence=table(squared, 16), WindowCenter=30_000, WindowWidth=20_000)
    np.testing.assert_allclose(
        grey, linear(squared[STORED].astype(float), 30_000, 20_000), atol=1e-5
    )


def test_signed_values_are_windowed_as_they_are() -> None:
    stored = (STORED.astype(np.int32) - 2048).astype(np.int16)
    grey = shown(stored, WindowCenter=-500, WindowWidth=800)
    np.testing.assert_allclose(grey, linear(X - 2048, -500, 800), atol=1e-5)


def test_signed_values_without_a_window_run_from_the_lowest_to_the_highest() -> None:
    stored = (STORED.astype(np.int32) - 2048).astype(np.int16)
    np.testing.assert_allclose(shown(stored), shown(), atol=1e-5)


def test_without_a_window_half_a_percent_is_left_out_at_each_end() -> None:
    # Of the 1000 values 0 to 999 the percentile 0.5 is 0.005 * 999 = 4.995; the other 994.005.
    stored = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    expected = np.clip((stored - 4.995) / (994.005 - 4.995), 0, 1)
    np.testing.assert_allclose(shown(stored), expected, atol=1e-5)


def test_a_few_burnt_out_pixels_do_not_darken_a_film() -> None:
    stored = STORED.copy()
    stored[0, 0] = 65535
    np.testing.assert_allclose(shown(stored)[1:], shown()[1:], atol=0.01)


def test_an_even_film_is_black() -> None:
    np.testing.assert_array_equal(shown(np.full((4, 4), 1000, np.uint16)), 0)


VOI = np.round(np.sqrt(np.arange(4096) / 4095) * 4095).astype(int)


def test_a_voi_table_is_looked_up_and_spans_its_own_bits() -> None:
    np.testing.assert_allclose(shown(VOILUTSequence=table(VOI, 12)), VOI[STORED] / 4095, atol=1e-5)


def test_a_voi_table_begins_at_its_first_value_and_its_ends_go_on() -> None:
    values = np.arange(0, 1001)
    expected = np.clip(X - 1000, 0, 1000) / 1023
    grey = shown(VOILUTSequence=table(values, 10, first=1000))
    np.testing.assert_allclose(grey, expected, atol=1e-5)


def test_a_voi_table_is_taken_before_a_window() -> None:
    grey = shown(VOILUTSequence=table(VOI, 12), WindowCenter=100, WindowWidth=50)
    np.testing.assert_allclose(grey, VOI[STORED] / 4095, atol=1e-5)


def test_a_voi_table_may_have_entries_of_8_bits() -> None:
    values = VOI >> 4
    grey = shown(VOILUTSequence=table(values, 8))
    np.testing.assert_allclose(grey, values[STORED] / 255, atol=1e-5)


def test_a_voi_table_follows_the_identity_rescale_of_digital_radiographs() -> None:
    grey = shown(VOILUTSequence=table(VOI, 12), RescaleSlope=1, RescaleIntercept=0)
    np.testing.assert_allclose(grey, VOI[STORED] / 4095, atol=1e-5)


def test_an_empty_voi_sequence_is_no_table() -> None:
    grey = shown(VOILUTSequence=Sequence([]), WindowCenter=1000, WindowWidth=500)
    np.testing.assert_allclose(grey, linear(X, 1000, 500), atol=1e-5)


VOI_KINDS = [
    {},
    {"WindowCenter": 1000, "WindowWidth": 500},
    {"WindowCenter": 1000, "WindowWidth": 500, "VOILUTFunction": "LINEAR_EXACT"},
    {"WindowCenter": 1000, "WindowWidth": 500, "RescaleSlope": 1, "RescaleIntercept": 0},
    {"VOILUTSequence": table(VOI, 12)},
]
VOI_NAMES = ["percentiles", "window", "exact window", "rescaled window", "table"]


@pytest.mark.parametrize("voi", VOI_KINDS, ids=VOI_NAMES)
@pytest.mark.parametrize(
    "white_is_low",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": ""},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "INVERSE"},
    ],
    ids=["MONOCHROME1", "empty shape", "MONOCHROME1 and INVERSE", "INVERSE"],
)
def test_a_film_whose_lowest_value_is_white_is_inverted_exactly_once(
    voi: dict[str, object], white_is_low: dict[str, object]
) -> None:
    grey = shown(**voi, **white_is_low)
    np.testing.assert_allclose(grey, 1 - shown(**voi), atol=1e-6)
    assert grey.flat[0] > grey.flat[-1]


@pytest.mark.parametrize("voi", VOI_KINDS, ids=VOI_NAMES)
def test_a_film_of_p_values_is_not_inverted(voi: dict[str, object]) -> None:
    grey = shown(**voi, PresentationLUTShape="IDENTITY")
    np.testing.assert_array_equal(grey, shown(**voi))
    assert grey.flat[0] < grey.flat[-1]


def test_inverting_goes_by_the_range_and_not_by_the_bits() -> None:
    # Of 12 bits only 1000 to 1999 are used: white must be the lowest value, black the highest.
    stored = (1000 + np.arange(1000, dtype=np.uint16)).reshape(20, 50)
    grey = shown(stored, PhotometricInterpretation="MONOCHROME1")
    assert grey.flat[0] == 1
    assert grey.flat[-1] == 0


def test_colour_is_weighted_as_bt_601_says() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    grey = render(dicom_film(rgb[..., 0], PhotometricInterpretation="RGB"), rgb)
    expected = (0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]) / 255
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 4, 4, 3), (16,)], ids=str)
def test_other_numbers_of_samples_are_not_supported(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnreadableFilm) as caught:
        render(dicom_film(np.zeros((4, 4), np.uint8)), np.zeros(shape, np.uint8))
    assert caught.value.code == "unsupported"
