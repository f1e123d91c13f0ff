"""Whom to ask, and how many of them: the operator's file of rules for approvals, and what it says of one action."""
