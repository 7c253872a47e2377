"""Engines that run an extraction on several machines or outside Polars."""
