"""Teleoperation by hand without a leader arm: gamepads, 6D mice and jogging. No rclpy here."""
