"""Bringing a robot into service: what its graph and its URDF say, a contract drafted and checked by them."""
