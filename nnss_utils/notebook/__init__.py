"""Parts that notebooks and pages show: plots, players, sliders, live training, the app."""
