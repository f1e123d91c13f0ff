"""For users: submit a turn and await its replies, cast a vote, report an outcome."""
