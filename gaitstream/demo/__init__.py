"""`gaitstream demo`: the whole pipeline on a synthetic site, scored against the ground truth.

`plan` says who walks where; `enrolment` fills a gallery from one camera; `live` runs it all, with `show` in
the terminal and `view` in a browser; `ground_truth` watches and knows the truth, `ear` receives the events;
`recording` makes the `record`, from which `score`, `summary` and `report` with its `charts` follow.
"""
