"""Tests of the imports that writing a page needs."""

import os
import subprocess
import sys

_DRAWS = (
    "import sys; from pathlib import Path\n"
    "from screening.report.html.contents import Contents\n"
    "from screening.report.html.report_page import write_page\n"
    "from screening.results import Row, Status\n"
    "write_page(Path(sys.argv[1]), Contents(rows=[Row(film='a', status=Status.FAILED)]))\n"
    "heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib.pyplot'}\n"
    "print(sorted(heavy & set(sys.modules)))\n"
)


def test_page_needs_no_home_scikit_learn_or_tensorflow(tmp_path):
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "/proc/nowhere")
    result = subprocess.run(
        [sys.executable, "-c", _DRAWS, tmp_path],
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"
    assert result.stderr == ""
    assert (tmp_path / "figures" / "statuses.png").is_file()
