"""The independent checker: judges a log and a witness against the promises, sharing no code with the executor."""
