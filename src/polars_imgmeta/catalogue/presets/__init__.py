"""Definitions of other tools, under names of their own, so that their thresholds stay valid.

A module has those of one tool that differ from the properties of this package. Each function is
that tool's definition, with its default parameters, of the picture in RGB.
"""
