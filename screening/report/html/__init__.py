"""The pages of a report and of a model card: what they share, and the report's own."""

import logging

# Said while it is imported: that a home is missing, as a worker's is, or that fonts are looked for.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
