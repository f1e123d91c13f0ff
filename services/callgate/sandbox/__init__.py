"""A local BIGHUB that the real SDK accepts: for the demo, for development, and for tests of what goes wrong.

It decides by a policy file, keeps state, and fails on demand. It uses neither SDK, so that a misreading on one side
of the wire is not repeated on the other.
"""
