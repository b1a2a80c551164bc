"""What samples are led to, as score models around another: every sampler takes them.

classifier_free.py    more of a class than the model itself has, by its score of no class
"""
