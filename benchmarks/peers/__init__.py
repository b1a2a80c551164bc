"""The same computations in other frameworks, to compare speeds. They need `pip install -e ".[peers]"`."""
