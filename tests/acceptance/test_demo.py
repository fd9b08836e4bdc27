from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def demo(installed, tmp_path_factory):
    """The output of the demo, and its predictions.csv."""
    place = tmp_path_factory.mktemp("demo") / "demo"
    output = installed("demo", "--out", place).stdout
    (path,) = place.glob("*/predictions.csv")
    return output, path


def test_demo_scores_three_encodings_alike_and_refuses_a_leg(demo):
    output, path = demo
    rows = pd.read_csv(path, index_col="film", keep_default_na=False)
    assert dict(rows.status) == {
        "RG1_J2KI.dcm": "scored",
        "RG1_J2KR.dcm": "scored",
        "RG1_UNCR.dcm": "scored",
        "RG3_UNCR.dcm": "refused",
    }
    assert rows.reason["RG3_UNCR.dcm"].startswith("not_chest: ")
    p = rows.probability.replace("", None).astype(float)
    assert abs(p["RG1_J2KR.dcm"] - p["RG1_UNCR.dcm"]) <= 0.002
    assert abs(p["RG1_J2KI.dcm"] - p["RG1_UNCR.dcm"]) <= 0.02
    # Each film is downscaled in the way that is cheapest for its encoding.
    assert dict(rows.decoding) == {
        "RG1_J2KI.dcm": "mean/2",
        "RG1_J2KR.dcm": "jpeg2000/4",
        "RG1_UNCR.dcm": "mean/2",
        "RG3_UNCR.dcm": "",
    }
    # The film has large round shadows, unlike the films of the training.
    warnings = set(rows.warnings["RG1_UNCR.dcm"].split("; "))
    assert {warning.partition(":")[0] for warning in warnings} <= {"", "out_of_domain"}
    assert str(path) in output
    verdicts = [line for line in output.splitlines() if line.startswith("RG")]
    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
    assert len(verdicts) == 4
    assert all(f"    {line}\n" in readme for line in verdicts)


def test_demo_report_does_not_identify_the_patient(demo):
    _output, predictions = demo
    files = [path for path in predictions.parent.rglob("*") if path.is_file()]
    text = b"".join(path.read_bytes() for path in files)
    # PatientName, PatientID, birth date, accession number and SOP Instance UID of the film.
    for secret in ("CompressedSamples", "9RG1", "19400305", "exam Number", "1.3.6.1.4.1.5962"):
        assert secret.encode() not in text
