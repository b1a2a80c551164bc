"""An HTML page about a folder, built from the records of its runs, however incomplete or damaged.

lines.py     reading lines of JSON and the figures in them, without JAX
reading.py   curves and pictures of a folder, with notes on what is wrong with them
chart.py     curves as SVG
elements.py  text, tables and pictures as HTML, with everything from a file escaped
style.py     the style sheet, light and dark
page.py      the sections and the page
"""
