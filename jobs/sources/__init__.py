"""Sources of jobs: submissions, watched folders, schedules."""
