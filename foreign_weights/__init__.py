"""Weights of published programs: parameter names, file formats and training state, for import and export."""
