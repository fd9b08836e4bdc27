"""Generate films with Hypothesis: valid DICOM files with arbitrary attribute values."""

from functools import lru_cache

import pydicom.uid as uids
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword

from fuzz.corpus import GREY12
from fuzz.elements import ITEM, SYNTAX, Dicom, Element
from fuzz.headers import KEYWORDS
from makers import dicom_bytes, dicom_film

#: Number of films generated at a time, because Hypothesis is slow to start.
BLOCK = 50

_LETTERS = st.characters(codec="utf-8")
_NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(repr),
    st.sampled_from(["", " ", "0.0", "1e16", "1e308", "-1e308", "4.9e-324"]),
)


@lru_cache(maxsize=2)
def made_up(number: int) -> tuple[bytes, ...]:
    """Generate :data:`BLOCK` films; the same number gives the same films."""
    films: list[bytes] = []

    @seed(number)
    @settings(
        max_examples=BLOCK,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(_elements(), min_size=1, max_size=8), st.booleans())
    def collect(elements: list[Element], implicit: bool) -> None:
        film = Dicom.read(_sound())
        film.implicit = implicit
        if implicit:
            film.put(SYNTAX, "UI", uids.ImplicitVRLittleEndian.encode() + b"\0")
        for element in elements:
            film.put(element.tag, element.vr, element.value)
        films.append(film.write())

    collect()
    return tuple(films)


def _elements() -> st.SearchStrategy[Element]:
    return st.sampled_from(KEYWORDS).flatmap(_element)


def _element(keyword: str, depth: int = 2) -> st.SearchStrategy[Element]:
    tag, vr = tag_for_keyword(keyword) or 0, dictionary_VR(keyword)[:2]
    if vr == "SQ":
        inner = st.sampled_from(KEYWORDS).flatmap(lambda name: _element(name, depth - 1))
        items = st.lists(st.lists(inner, max_size=4), max_size=3 if depth > 0 else 0)
        return items.map(lambda some: Element(tag, "SQ", b"".join(map(_item, some))))
    return _values(vr).map(lambda value: Element(tag, vr, value + b" " * (len(value) % 2)))


def _values(vr: str) -> st.SearchStrategy[bytes]:
    words = st.lists(st.integers(0, 65535), max_size=6)
    if vr in ("US", "SS", "OW", "AT"):
        return st.one_of(
            words.map(lambda some: b"".join(word.to_bytes(2, "little") for word in some)),
            st.binary(max_size=64),
        )
    if vr in ("DS", "IS"):
        return st.lists(_NUMBERS, max_size=4).map(lambda some: "\\".join(some).encode())
    return st.one_of(
        st.text(_LETTERS, max_size=80).map(lambda text: text.encode()), st.binary(max_size=40)
    )


def _item(elements: list[Element]) -> bytes:
    inner = Dicom([], elements).write()
    return ITEM + len(inner).to_bytes(4, "little") + inner


@lru_cache(maxsize=1)
def _sound() -> bytes:
    dataset = dicom_film(GREY12, BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uids.UID("2.25.1")
    return dicom_bytes(dataset)
