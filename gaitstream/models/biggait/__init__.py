"""BigGait (Ye et al., CVPR 2024): RGB crops through DINOv2, a mask, and a gait network."""
