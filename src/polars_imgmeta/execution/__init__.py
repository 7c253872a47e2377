"""Threads, shared limits, and progress."""
