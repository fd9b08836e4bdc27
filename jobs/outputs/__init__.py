"""What a worker tells the outside: metrics, logs, notifications."""
