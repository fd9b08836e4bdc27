"""Outputs of a worker: metrics, logs, notifications."""
