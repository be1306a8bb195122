"""Workloads with recorded results and the commands that repeat them; see README.md."""
