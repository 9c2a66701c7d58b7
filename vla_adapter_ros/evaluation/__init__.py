"""How good a policy is: on recorded data (open loop) and in the simulator (closed loop)."""
