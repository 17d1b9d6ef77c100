"""The command line ``hf-guidance``: one file a command."""
