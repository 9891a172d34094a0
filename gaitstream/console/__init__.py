"""The console: a web page and a REST interface for a site, fed from the event bus and the gallery.

A subscriber like any other, in a process of its own: the pipeline does not know it. Needs the extra
`gaitstream[console]`.
"""
