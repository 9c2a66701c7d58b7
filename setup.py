"""Which files a wheel holds; pyproject.toml says the rest. config/ goes in as a package of its own."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["vla_adapter_ros", "vla_adapter_ros.*"]), "vla_adapter_ros.config"],
    package_dir={"vla_adapter_ros.config": "config"},
    package_data={
        "vla_adapter_ros": [
            "checkpoints/*/*",
            "checkpoints/*/scene/*",
            "benchmarks/data/*",
            "templates/*",
            "console/elements/*.js",
            "console/static/*",
        ],
        "vla_adapter_ros.config": ["*.xml", "*.json", "robots/*.yaml", "nodes/*.yaml", "teleop/*.yaml"],
    },
)
