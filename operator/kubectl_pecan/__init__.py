"""`kubectl pecan`: data in, workflows watched, results out, through the API server alone."""
