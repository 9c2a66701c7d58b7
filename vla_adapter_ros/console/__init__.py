"""The operator's console: what its pages show and who may use them. No rclpy here."""
