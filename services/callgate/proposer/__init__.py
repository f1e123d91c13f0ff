"""The proposer: turns become actions, and what became of the actions becomes the answer to the turn."""
