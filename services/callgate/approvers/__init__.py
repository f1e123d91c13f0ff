"""Who may say what they say: the keys of approvers, and what a vote's signature proves."""
