"""What people run: the command line, pipelines and reports. It may import every other room and is imported by none."""
