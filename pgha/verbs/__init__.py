"""Task modules with a name of their own (`inv chaos.stop`); `tasks.py` joins them."""
