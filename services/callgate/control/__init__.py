"""Switches and holds: what operators have said may not start, and how every service knows."""
