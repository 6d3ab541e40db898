"""Positions of each slot's rows and tokens in one forward, and padding of groups to one length."""
