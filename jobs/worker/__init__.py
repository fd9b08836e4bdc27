"""The worker: claims jobs from the queue and runs them."""
