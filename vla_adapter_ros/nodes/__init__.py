"""The ROS 2 nodes. The only package, beside the command line, that imports rclpy."""
