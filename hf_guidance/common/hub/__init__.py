"""Transfers from and to the Hub: one file comes, one commit goes; what fails is told in plain words and without the token."""

from hf_guidance.common.hub.download import download_file
from hf_guidance.common.hub.upload import create_repo, files_of, upload_files

__all__ = ["create_repo", "download_file", "files_of", "upload_files"]
