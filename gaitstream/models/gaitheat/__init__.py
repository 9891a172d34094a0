"""GaitHeat (Fu et al., ECCV 2024): joint heatmaps, turned upright and merged into parts."""
