"""The ROS 2 nodes. The only room, beside the command line, that imports rclpy."""
