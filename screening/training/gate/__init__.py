"""What teaches a model which pictures are frontal chest films."""
