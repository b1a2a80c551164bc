"""One page of HTML about a folder: what its runs recorded, read however little or damaged that is.

reading.py   lines, figures and pictures of a folder, and what is wrong with them in words
chart.py     curves as SVG
elements.py  text, tables and pictures as HTML; everything from a file is escaped there
style.py     its look, light and dark
page.py      the sections, put together
"""
