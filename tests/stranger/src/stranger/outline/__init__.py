"""A gait model that looks at one silhouette at a time: shape `frame`."""
