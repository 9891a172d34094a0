"""`gaitstream demo`: the whole pipeline on a synthetic site, scored against the ground truth.

`plan` says who walks where; `enrolment` fills a gallery from one camera; `referee` watches the live run and
knows the truth; `score` counts; `report` writes the page; `live` connects them.
"""
