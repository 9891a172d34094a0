"""What a run keeps of its decisions for people who look at them, and what it shows them live.

It hangs on the pipeline's hooks (`pipeline.observe`) and does its work in threads of its own; the pipeline
knows nothing of it. `reading` is how others look at what is kept, `bundles` how one event leaves the site.
"""
