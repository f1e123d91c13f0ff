"""What Callgate costs, beside what it could be compared with: measured in one run, on one machine, as ratios."""
