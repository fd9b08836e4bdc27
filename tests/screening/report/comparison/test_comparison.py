"""Tests of comparing two reports of the same films."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from screening.errors import LabelsError, ReportError
from screening.privacy import PatientKey
from screening.report.comparison.compare import compare, match
from screening.report.comparison.text import CHANGED, COMPARISON, words, write_comparison
from screening.report.labels import Labels
from screening.results import Row, Status


def row(film, probability=None, label="", threshold=0.5, **changes):
    """Return a row; without a probability the film was refused."""
    scored = probability is not None
    prediction = "PNEUMONIA" if scored and probability >= threshold else "NORMAL"
    values = {
        "film": film,
        "sha256": film.encode().hex().ljust(64, "0"),
        "status": Status.SCORED if scored else Status.REFUSED,
        "probability": probability,
        "prediction": prediction if scored else "",
        "threshold": threshold if scored else None,
        "label": label,
        "model": "brightness 1" if scored else "",
        "model_sha256": "a" * 64 if scored else "",
        "runtime": "fake/1" if scored else "",
    }
    return Row(**values | changes)


def with_threshold(rows, threshold):
    """Return the same films, classified with another threshold."""
    return [
        row(one.film, one.probability, one.label, threshold, patient=one.patient) for one in rows
    ]


#: 60 films; pneumonia is more frequent at high probabilities.
FILMS = [
    row(f"{n:02}.png", n / 60, "PNEUMONIA" if n % 4 < 2 or n > 50 else "NORMAL") for n in range(60)
]


def names(pairs):
    return [(pair.a and pair.a.film, pair.b and pair.b.film) for pair in pairs]


def test_films_are_matched_by_hash_regardless_of_name():
    a = [row("a", 0.1), row("b", 0.2)]
    b = [replace(row("b", 0.2), film="renamed"), row("a", 0.1)]
    pairs, only = match(a, b)
    assert names(pairs) == [("a", "a"), ("b", "renamed")]
    assert only == []


def test_replaced_file_is_another_film():
    pairs, only = match([row("a", 0.1)], [row("a", 0.1, sha256="f" * 64)])
    assert pairs == []
    assert names(only) == [("a", None), (None, "a")]


def test_films_without_a_unique_hash_are_matched_by_path():
    twins = {"sha256": "e" * 64}
    a = [row("gone", sha256=""), row("x", **twins), row("y", **twins)]
    b = [row("y", **twins), row("x", **twins), row("gone", 0.3)]
    pairs, only = match(a, b)
    assert names(pairs) == [("gone", "gone"), ("x", "x"), ("y", "y")]
    assert only == []


def test_copies_are_not_counted_as_films():
    copy = row("copy", sha256=row("a").sha256, status=Status.DUPLICATE)
    pairs, only = match([row("a", 0.1), copy], [row("a", 0.2), copy])
    assert names(pairs) == [("a", "a")]
    assert only == []
    assert compare([row("a", 0.1), copy], [row("a", 0.2)]).copies == (1, 0)


def test_film_is_in_at_most_one_pair():
    a = [row("x", sha256=""), row("y", sha256=row("x").sha256)]
    b = [row("x", 0.5)]
    pairs, only = match(a, b)
    assert len(pairs) + len(only) == 2
    assert names(pairs) == [("x", "x")]


def test_reports_without_a_common_film_cannot_be_compared():
    with pytest.raises(ReportError, match="no film in common"):
        compare([row("a", 0.1)], [row("b", 0.1)])
    with pytest.raises(ReportError, match="no film in common"):
        compare([], [])


def test_flips_and_status_changes_are_counted_separately():
    a = [row("a", 0.1), row("b", 0.9), row("c", 0.9), row("d", 0.9), row("e")]
    b = [row("a", 0.8), row("b", 0.2), row("c"), row("d", 0.7), row("e", 0.3)]
    assert compare(a, b).flips == Counter(
        {
            ("NORMAL", "PNEUMONIA"): 1,
            ("PNEUMONIA", "NORMAL"): 1,
            ("PNEUMONIA", "refused"): 1,
            ("refused", "NORMAL"): 1,
        }
    )


def test_lower_threshold_raises_sensitivity_and_lowers_specificity():
    figures = compare(FILMS, with_threshold(FILMS, 0.25)).figures
    assert figures["sensitivity"].difference > 0
    assert figures["specificity"].difference < 0
    assert figures["sensitivity"].p < 0.05
    assert figures["auroc"].difference == 0
    assert figures["auroc"].p == 1
    sick = [film for film in FILMS if film.label == "PNEUMONIA"]
    assert figures["sensitivity"].n == len(sick)
    assert figures["sensitivity"].a == sum(f.probability >= 0.5 for f in sick) / len(sick)


def test_no_accuracy_figures_without_labels():
    bare = [replace(film, label="") for film in FILMS]
    assert set(compare(bare, bare).figures) == {"called", "agreement", "kappa"}


def test_label_in_either_report_suffices_but_conflicts_are_errors():
    bare = [replace(film, label="") for film in FILMS]
    assert "sensitivity" in compare(bare, FILMS).figures
    wrong = [replace(FILMS[0], label="NORMAL"), *FILMS[1:]]
    with pytest.raises(LabelsError, match="different labels for 1 of their films"):
        compare(FILMS, wrong)


def test_given_labels_replace_those_of_the_reports(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_text("film,label\n00.png,0\n01.png,1\n", encoding="utf-8")
    wrong = [replace(FILMS[0], label="NORMAL"), *FILMS[1:]]
    compared = compare(FILMS, wrong, Labels.read(path))
    assert int(compared.both.labelled.sum()) == 2


def test_labels_by_uid_are_hashed_with_the_key(tmp_path: Path):
    key = PatientKey(b"k" * 32)
    path = tmp_path / "labels.csv"
    path.write_text("film,label\n1.2.3,1\n", encoding="utf-8")
    film = row("a", 0.7, instance=key.hash("instance", "1.2.3"))
    labels = Labels.read(path)
    assert int(compare([film], [film], labels, key).both.labelled.sum()) == 1
    assert int(compare([film], [film], labels).both.labelled.sum()) == 0


def test_films_of_one_patient_are_grouped():
    a = [replace(film, patient=f"p{n // 6}") for n, film in enumerate(FILMS)]
    together = compare(a, with_threshold(a, 0.25))
    assert len(set(together.both.patient)) == 10
    alone = compare(FILMS, with_threshold(FILMS, 0.25))
    assert together.figures["sensitivity"].p > alone.figures["sensitivity"].p


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tables_list_every_figure_and_every_changed_film(tmp_path: Path):
    b = [*with_threshold(FILMS[:-1], 0.25), row("=new.png", 0.5)]
    comparison = compare(FILMS, b)
    write_comparison(tmp_path / "out", comparison)
    figures = {line["metric"]: line for line in table(tmp_path / "out" / COMPARISON)}
    assert (figures["threshold"]["a"], figures["threshold"]["b"]) == ("0.5", "0.25, 0.5")
    assert (figures["only_in_one"]["a"], figures["only_in_one"]["b"]) == ("1", "1")
    contrast = comparison.figures["specificity"]
    line = figures["specificity"]
    assert float(line["difference"]) == pytest.approx(contrast.difference, rel=1e-5)
    assert float(line["difference"]) < 0
    assert float(line["p"]) == pytest.approx(contrast.p, rel=1e-5)
    assert int(line["n"]) == contrast.n
    assert figures["kappa"]["difference"] == ""
    changed = table(tmp_path / "out" / CHANGED)
    flipped = [film for film in FILMS[:-1] if 0.25 <= film.probability < 0.5]
    assert [line["film"] for line in changed] == [
        *(film.film for film in flipped),
        "59.png",
        "'=new.png",
    ]
    assert {line["prediction_b"] for line in changed[: len(flipped)]} == {"PNEUMONIA"}
    assert (changed[-2]["status_a"], changed[-2]["status_b"]) == ("scored", "")
    assert (changed[-1]["status_a"], changed[-1]["probability_b"]) == ("", "0.5")


def test_non_empty_folder_is_not_changed(tmp_path: Path):
    (tmp_path / "kept").touch()
    with pytest.raises(ReportError, match="cannot be written"):
        write_comparison(tmp_path, compare(FILMS, FILMS))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_text_says_what_changed_and_whether_beyond_chance():
    text = "\n".join(words(compare(FILMS, with_threshold(FILMS, 0.25))))
    assert "A: brightness 1, bundle aaaaaaaaaaaaaaaa, threshold 0.5, fake/1" in text
    assert "They differ in: threshold." in text
    assert "Films: 60 in both, 0 only in A, 0 only in B." in text
    assert (
        "of 60 films scored in both reports: 15 more in B than in A (45 and 30; 15 only in B"
        in text
    )
    sick = sum(film.label == "PNEUMONIA" for film in FILMS)
    assert f"Flagged, of {sick} films labelled PNEUMONIA: " in text
    assert "distinguishable from chance, p " in text
    assert "area under the ROC curve: A 0." in text
    assert "does not mean that there is no difference" in text


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (FILMS, FILMS, "the same 30 in A and in B; no difference."),
        (FILMS, FILMS, "They differ in: nothing that the reports record."),
        ([row("a", 0.9)], [row("a")], "PNEUMONIA in A and refused in B: 1 film."),
        ([row("a", 0.9)], [row("a")], "No film was scored in both reports."),
        ([row("a", 0.9)], [row("a", 0.8)], "Cohen's kappa is undefined"),
        ([row("a", 0.9)], [row("a", 0.8)], "give --labels"),
        ([row("a", 0.9, "NORMAL")], [row("a", 0.8)], "in both reports is labelled PNEU"),
        ([row("a", 0.9, "NORMAL")], [row("a", 0.8)], "area under the ROC curve: undefined"),
        ([row("a", 0.9, "NORMAL")], [row("a", 0.1)], "1 fewer in B than in A (0 and 1; "),
        (
            [row("a", 0.9), row("b", 0.1)],
            [row("a", 0.1), row("b", 0.9)],
            "as many in B as in A (1 and 1; 1 only in B, 1 only in A)",
        ),
    ],
)
def test_text_covers_special_cases(a, b, said):
    assert said in "\n".join(words(compare(a, b)))
