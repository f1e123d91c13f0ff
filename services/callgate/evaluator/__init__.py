"""The evaluator: has BIGHUB decide each proposed action, and asks people where BIGHUB does."""
