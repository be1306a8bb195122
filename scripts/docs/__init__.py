"""Writes the generated parts of docs/: `python -m scripts.docs`."""
