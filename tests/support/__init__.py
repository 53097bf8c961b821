"""Shared parts of the tests: servers, sinks, clients, clocks and folders, one copy of each."""
