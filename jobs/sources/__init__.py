"""What adds jobs to the queue: users, watched folders, schedules."""
