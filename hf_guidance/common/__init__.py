"""Helpers for every subpackage, without concepts of the library: option checks, complete files, shipped folders."""
