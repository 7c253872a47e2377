"""Pictures of the data: plots, reports, previews."""
