"""HTML pages of reports, with the parts that they share with model cards."""

import logging

# On import matplotlib warns about a missing home directory, which workers lack, and about fonts.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
