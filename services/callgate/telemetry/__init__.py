"""What a process shows of itself: the metric catalogue, logs and probes."""
