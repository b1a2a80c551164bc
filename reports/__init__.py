"""One page of HTML about a folder: what its runs recorded, read however little or damaged that is.

lines.py     lines of JSON and the figures in them, without JAX
reading.py   curves and pictures of a folder, and what is wrong with them in words
chart.py     curves as SVG
elements.py  text, tables and pictures as HTML; everything from a file is escaped there
style.py     its look, light and dark
page.py      the sections, put together
"""
