"""Approvals: checks votes at the entrance, counts them in one order, and says what came of each question."""
