import pytest

from screening.training.evaluate import selection


def figure(value, low=None, high=None):
    return {"value": value, "ci_low": low, "ci_high": high, "n": 100, "note": ""}


def rows(**shares):
    """Two sources with normal films only, one with weak labels, one with both classes."""
    source = [
        {"source": "rsna", "positives": 0, "weak": False},
        {"source": "other", "positives": 0, "weak": False},
        {"source": "reports", "positives": 0, "weak": True},
        {"source": "children", "positives": 50, "weak": False},
    ]
    views = [
        {"source": name, "view": view, "share_called": figure(share, share - 0.01, share + 0.02)}
        for name, (view, share) in shares.items()
    ]
    return {"source": source, "source_view": views}


ELSEWHERE = {
    "hospital 1": {"auroc": figure(0.95)},
    "small JPEG": {"auroc": figure(0.91)},
    "empty": {"auroc": figure(None)},
}
REASONS = {"tests": {"outside_exchanged": {"auroc": figure(0.88, 0.85, 0.9)}}}


def test_selection_has_the_components_and_the_worst():
    table = rows(rsna=("AP", 0.2), other=("AP", 0.05), reports=("AP", 0.9), children=("AP", 0.6))
    chosen = selection(ELSEWHERE, REASONS, table)
    assert (chosen["worst_site"]["value"], chosen["worst_site"]["of"]) == (0.91, "small JPEG")
    assert chosen["outside_exchanged"]["ci_low"] == 0.85
    normals = chosen["normals_ap"]
    assert (normals["value"], normals["of"]) == (pytest.approx(0.8), "rsna")
    assert (normals["ci_low"], normals["ci_high"]) == (pytest.approx(0.78), pytest.approx(0.81))
    assert "normals_pa" not in chosen
    assert (chosen["worst"]["value"], chosen["worst"]["of"]) == (pytest.approx(0.8), "normals_ap")


def test_weak_labels_are_never_used():
    assert "normals_ap" not in selection(ELSEWHERE, REASONS, rows(reports=("AP", 0.9)))


def test_selection_is_empty_if_nothing_is_known():
    assert selection({}, {}, {}) == {}


def test_single_component_is_the_worst():
    assert selection(ELSEWHERE, {}, {})["worst"]["of"] == "worst_site"
