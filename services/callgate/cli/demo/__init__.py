"""The demonstration: scripted turns of its own through sandbox and services, on a fresh embedded log."""
