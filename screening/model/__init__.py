"""Model card, preprocessing, calibration and image checks; everything except training."""
