"""Sockets: the doors through which audio comes and text goes."""
