"""Images measured in child processes, which may crash, hang or grow without harm.

The parent reads encoded images and hands over their bytes; a child decodes and measures them
and returns the values. It opens no file, and where the system offers it, it cannot.
"""
