"""The queue: jobs, schedules, and the stores that keep them."""
