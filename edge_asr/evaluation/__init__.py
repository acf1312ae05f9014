"""Word error rates, data sets and calibration: everything that measures a bundle."""
