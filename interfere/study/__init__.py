"""Whole experiments from one configuration."""
