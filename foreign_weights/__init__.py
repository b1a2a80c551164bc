"""Files of the published implementation: their names, formats and training state."""
