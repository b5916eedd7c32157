"""pcse's settings in the image, where it can write no log: an error of pcse reaches logfile.txt as an exception."""

LOG_CONFIG = {"version": 1, "disable_existing_loggers": True, "root": {"level": "ERROR", "handlers": []}}
