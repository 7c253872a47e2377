"""The verbs: functions from a frame to a frame, one module for each family."""
