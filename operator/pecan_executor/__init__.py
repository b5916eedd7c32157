"""The light framework: prepares run folders and analyses results beside the data."""
