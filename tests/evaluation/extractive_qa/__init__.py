"""Tests of extractive question answering."""
