import tracemalloc

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from makers import dicom_film
from screening.errors import UnreadableFilm
from screening.imaging.colour import grey_of_colour
from screening.imaging.render import render
from screening.results import FilmWarning

TWELVE_BIT = {"BitsStored": 12, "HighBit": 11}
STORED = np.arange(0, 4096, 8, dtype=np.uint16).reshape(16, 32)
X = STORED.astype(float)


def shown(stored: np.ndarray = STORED, **attributes: object) -> np.ndarray:
    grey, warnings = rendered(stored, **attributes)
    assert warnings == ()
    return grey


def rendered(
    stored: np.ndarray = STORED, **attributes: object
) -> tuple[np.ndarray, tuple[str, ...]]:
    grey, warnings = render(dicom_film(stored, **TWELVE_BIT | attributes), stored)
    assert grey.dtype == np.float32
    assert grey.flags.c_contiguous
    assert 0 <= grey.min() <= grey.max() <= 1  # NaN would make the comparison false
    return grey, warnings


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
    """A lookup table (PS3.3 C.11.1.1, C.11.2.1.1) with `values` for stored values from `first`."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    item.add_new("LUTData", "US", [int(value) for value in values])
    return Sequence([item])


@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000, 500), (600.5, 33), (2048, 2)])
def test_window_is_linear_by_default(centre: float, width: float) -> None:
    grey = shown(WindowCenter=centre, WindowWidth=width)
    np.testing.assert_allclose(grey, linear(X, centre, width), atol=1e-5)


def test_window_of_width_1_is_a_threshold() -> None:
    grey = shown(WindowCenter=2000, WindowWidth=1)
    np.testing.assert_array_equal(grey, X > 1999.5)


@pytest.mark.parametrize(
    ("function", "formula"),
    [("LINEAR", linear), ("LINEAR_EXACT", linear_exact), ("SIGMOID", sigmoid)],
)
def test_voi_lut_function_is_applied(function: str, formula: object) -> None:
    grey = shown(WindowCenter=1500, WindowWidth=900, VOILUTFunction=function)
    np.testing.assert_allclose(grey, formula(X, 1500, 900), atol=1e-5)


def test_first_of_several_windows_is_used() -> None:
    grey = shown(WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    np.testing.assert_allclose(grey, linear(X, 1000, 500), atol=1e-5)


@pytest.mark.parametrize(
    "half", [{"WindowCenter": 1000}, {"WindowCenter": 1000, "WindowWidth": None}], ids=str
)
def test_window_without_centre_or_width_is_ignored(half: dict[str, object]) -> None:
    np.testing.assert_array_equal(shown(**half), shown())


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1024), (0.25, 10)])
def test_window_applies_to_rescaled_values(slope: float, intercept: float) -> None:
    centre, width = 1200 * slope + intercept, 900 * slope
    grey = shown(
        WindowCenter=centre, WindowWidth=width, RescaleSlope=slope, RescaleIntercept=intercept
    )
    np.testing.assert_allclose(grey, linear(X * slope + intercept, centre, width), atol=1e-5)


def test_negative_slope_inverts_a_film_with_a_window() -> None:
    grey = shown(WindowCenter=2048, WindowWidth=4096, RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_allclose(grey, linear(4095 - X, 2048, 4096), atol=1e-5)


def test_negative_slope_inverts_a_film_without_a_window() -> None:
    grey = shown(RescaleSlope=-1, RescaleIntercept=4095)
    np.testing.assert_allclose(grey, 1 - shown(), atol=1e-5)


def test_modality_lut_is_applied_before_the_window() -> None:
    squared = np.arange(4096) ** 2 >> 8
    grey = shown(ModalityLUTSequence=table(squared, 16), WindowCenter=30_000, WindowWidth=20_000)
    np.testing.assert_allclose(
        grey, linear(squared[STORED].astype(float), 30_000, 20_000), atol=1e-5
    )


def test_signed_values_are_windowed() -> None:
    stored = (STORED.astype(np.int32) - 2048).astype(np.int16)
    grey = shown(stored, WindowCenter=-500, WindowWidth=800)
    np.testing.assert_allclose(grey, linear(X - 2048, -500, 800), atol=1e-5)


def test_signed_values_without_a_window_span_their_range() -> None:
    stored = (STORED.astype(np.int32) - 2048).astype(np.int16)
    np.testing.assert_allclose(shown(stored), shown(), atol=1e-5)


def test_range_without_a_window_omits_half_a_percent_at_each_end() -> None:
    # Of the 1000 values 0 to 999, percentile 0.5 is 0.005 * 999 = 4.995; the other one is 994.005.
    stored = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    expected = np.clip((stored - 4.995) / (994.005 - 4.995), 0, 1)
    np.testing.assert_allclose(shown(stored), expected, atol=1e-5)


def test_a_few_saturated_pixels_do_not_darken_a_film() -> None:
    stored = STORED.copy()
    stored[0, 0] = 65535
    np.testing.assert_allclose(shown(stored)[1:], shown()[1:], atol=0.01)


def test_film_with_a_single_value_is_black() -> None:
    np.testing.assert_array_equal(shown(np.full((4, 4), 1000, np.uint16)), 0)


VOI = np.round(np.sqrt(np.arange(4096) / 4095) * 4095).astype(int)


def test_voi_lut_is_applied_and_scaled_by_its_bits() -> None:
    np.testing.assert_allclose(shown(VOILUTSequence=table(VOI, 12)), VOI[STORED] / 4095, atol=1e-5)


def test_voi_lut_extends_beyond_its_first_and_last_value() -> None:
    values = np.arange(0, 1001)
    expected = np.clip(X - 1000, 0, 1000) / 1023
    grey = shown(VOILUTSequence=table(values, 10, first=1000))
    np.testing.assert_allclose(grey, expected, atol=1e-5)


def test_voi_lut_takes_precedence_over_a_window() -> None:
    grey = shown(VOILUTSequence=table(VOI, 12), WindowCenter=100, WindowWidth=50)
    np.testing.assert_allclose(grey, VOI[STORED] / 4095, atol=1e-5)


def test_voi_lut_may_have_8_bit_entries() -> None:
    values = VOI >> 4
    grey = shown(VOILUTSequence=table(values, 8))
    np.testing.assert_allclose(grey, values[STORED] / 255, atol=1e-5)


def test_voi_lut_is_applied_after_an_identity_rescale() -> None:
    grey = shown(VOILUTSequence=table(VOI, 12), RescaleSlope=1, RescaleIntercept=0)
    np.testing.assert_allclose(grey, VOI[STORED] / 4095, atol=1e-5)


def test_empty_voi_lut_sequence_is_ignored() -> None:
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
def test_film_with_white_as_lowest_value_is_inverted_once(
    voi: dict[str, object], white_is_low: dict[str, object]
) -> None:
    grey = shown(**voi, **white_is_low)
    np.testing.assert_allclose(grey, 1 - shown(**voi), atol=1e-6)
    assert grey.flat[0] > grey.flat[-1]


@pytest.mark.parametrize("voi", VOI_KINDS, ids=VOI_NAMES)
def test_p_values_are_not_inverted(voi: dict[str, object]) -> None:
    grey = shown(**voi, PresentationLUTShape="IDENTITY")
    np.testing.assert_array_equal(grey, shown(**voi))
    assert grey.flat[0] < grey.flat[-1]


def test_inversion_uses_the_range_and_not_the_bits() -> None:
    # Of 12 bits only 1000 to 1999 are used: white must be the lowest value, black the highest.
    stored = (1000 + np.arange(1000, dtype=np.uint16)).reshape(20, 50)
    grey = shown(stored, PhotometricInterpretation="MONOCHROME1")
    assert grey.flat[0] == 1
    assert grey.flat[-1] == 0


def ignored(detail: str) -> tuple[str, ...]:
    return (FilmWarning("header_ignored", detail),)


@pytest.mark.parametrize(
    "window",
    [
        {"WindowWidth": 0},
        {"WindowWidth": -5},
        {"WindowWidth": 0.5},
        {"WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowWidth": -1, "VOILUTFunction": "SIGMOID"},
        {"WindowWidth": "1e300"},
        {"WindowWidth": 500, "WindowCenter": "-1e300"},
    ],
    ids=str,
)
def test_invalid_window_falls_back_to_the_range_with_a_warning(
    window: dict[str, object],
) -> None:
    grey, warnings = rendered(**{"WindowCenter": 1000} | window)
    np.testing.assert_array_equal(grey, shown())
    assert warnings == ignored("WindowCenter and WindowWidth")


def test_invalid_window_falls_back_to_the_next() -> None:
    grey = shown(WindowCenter=[1000, 3000], WindowWidth=[0, 100])
    np.testing.assert_allclose(grey, linear(X, 3000, 100), atol=1e-5)


@pytest.mark.parametrize("width", [0.001, 1e-9])
def test_steep_sigmoid_is_finite(width: float) -> None:
    grey = shown(WindowCenter=1500, WindowWidth=width, VOILUTFunction="SIGMOID")
    np.testing.assert_array_equal(grey[X != 1500], (X > 1500)[X != 1500])


@pytest.mark.parametrize(
    ("entries", "said", "detail"),
    [
        ([1, 2, 3], [4096, 0, 12], "VOI LUT has 3 entries, its descriptor says 4096"),
        ([1, 2, 3], [3, 0], "VOI LUT has no descriptor of three numbers"),
        ([], [3, 0, 12], "VOI LUT is empty"),
    ],
)
def test_invalid_voi_lut_falls_back_to_the_window_with_a_warning(
    entries: list[int], said: list[int], detail: str
) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", said)
    item.add_new("LUTData", "US", entries)
    grey, warnings = rendered(VOILUTSequence=Sequence([item]), WindowCenter=1000, WindowWidth=500)
    np.testing.assert_allclose(grey, linear(X, 1000, 500), atol=1e-5)
    assert warnings == ignored(detail)


def test_invalid_modality_lut_is_an_error() -> None:
    item = table(np.arange(3), 16)
    item[0].LUTDescriptor = [4096, 0, 16]
    with pytest.raises(UnreadableFilm, match="Modality LUT has 3 entries") as caught:
        shown(ModalityLUTSequence=item)
    assert caught.value.code == "not_decodable"


@pytest.mark.parametrize(
    "rescale", [{"RescaleSlope": "inf"}, {"RescaleIntercept": "nan"}, {"RescaleSlope": "1e300"}]
)
def test_rescale_that_is_not_finite_is_an_error(rescale: dict[str, object]) -> None:
    with pytest.raises(UnreadableFilm, match="is not finite"):
        shown(**rescale)


def test_slope_of_zero_is_ignored_with_a_warning() -> None:
    grey, warnings = rendered(RescaleSlope=0, RescaleIntercept=7)
    np.testing.assert_array_equal(grey, shown())
    assert warnings == ignored("RescaleSlope 0")


def test_voi_lut_may_start_below_zero() -> None:
    # A first value of -1024 in a descriptor of VR US is 64512 (PS3.3 C.11.2.1.1).
    grey = shown(VOILUTSequence=table(VOI, 12, first=64512), RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_allclose(grey, VOI[STORED] / 4095, atol=1e-5)


def test_lut_bits_are_widened_to_fit_its_entries() -> None:
    grey = shown(VOILUTSequence=table(VOI, 8))
    np.testing.assert_allclose(grey, VOI[STORED] / 4095, atol=1e-5)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_presentation_lut_gives_p_values(photometric: str) -> None:
    # PS3.3 C.11.4: P-values need no inversion, whatever the photometric interpretation.
    falling = np.linspace(255, 0, 256).round().astype(int) ** 2 >> 8
    grey = shown(
        PresentationLUTSequence=table(falling, 8),
        WindowCenter=2048,
        WindowWidth=4096,
        PhotometricInterpretation=photometric,
    )
    expected = falling[np.rint(linear(X, 2048, 4096) * 255).astype(int)] / 255
    np.testing.assert_allclose(grey, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint32, np.int32])
def test_wide_cells_render_like_narrow_ones(dtype: type) -> None:
    wide = STORED.astype(dtype) * 100_000
    np.testing.assert_allclose(shown(wide, BitsStored=32, HighBit=31), shown(), atol=1e-5)
    grey = shown(
        wide, BitsStored=32, HighBit=31, WindowCenter=2e8, WindowWidth=1e8, PixelPaddingValue=0
    )
    np.testing.assert_allclose(grey, linear(X * 1e5, 2e8, 1e8), atol=1e-5)


def test_nearly_uniform_film_keeps_its_other_values_distinct() -> None:
    stored = np.full((100, 100), 7, np.uint16)
    stored[50, 50:53] = [8, 9, 11]
    np.testing.assert_allclose(shown(stored)[50, 49:54], [0, 0.25, 0.5, 1, 0], atol=1e-6)


def test_film_of_padding_only_is_black() -> None:
    np.testing.assert_array_equal(shown(PixelPaddingValue=0, PixelPaddingRangeLimit=4095), 0)


def test_rendering_needs_little_more_memory_than_the_grey_values() -> None:
    stored = np.random.default_rng(1).integers(0, 4096, (2000, 1500), np.uint16)
    dataset = dicom_film(stored, **TWELVE_BIT)
    tracemalloc.start()
    render(dataset, stored)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * stored.size + 12_000_000


def test_colour_is_weighted_by_bt_601() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    grey = grey_of_colour(rgb, 8)
    expected = (0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]) / 255
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey, expected, atol=1e-6)


def test_studio_range_luma_spans_16_to_235() -> None:
    neutral = np.array([[[0, 128, 128], [16, 128, 128], [235, 128, 128], [255, 128, 128]]])
    grey = grey_of_colour(neutral.astype(np.uint8), 8, "YBR_PARTIAL")
    np.testing.assert_allclose(grey, [[0, 0, 1, 1]], atol=1e-6)


def test_grey_stored_as_colour_gives_the_same_grey() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    grey = grey_of_colour(np.stack([ramp] * 3, axis=-1), 16)
    np.testing.assert_array_equal(grey, shown(ramp, WindowCenter=32768, WindowWidth=65536))
