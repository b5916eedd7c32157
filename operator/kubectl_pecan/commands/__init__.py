"""The commands: thin, each a few lines between what the user gave, the API server and the screen."""
