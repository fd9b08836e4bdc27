"""The queue: jobs, schedules, and the stores that persist them."""
