"""The same work in other frameworks, to compare speeds with. They need `pip install -e ".[peers]"`."""
