"""Install of the ROS-free parts with pip, as for a training machine. colcon uses CMakeLists.txt instead."""

from setuptools import find_packages, setup

POLICY = ["torch>=2.4", "transformers>=4.56,<6", "tokenizers", "safetensors"]
TRAIN = [
    *POLICY,
    "peft>=0.17",
    "accelerate>=1.10",
    "tensorboard>=2.16",
    "av>=14",
    "pyarrow>=17",
    "rosbags>=0.10",
    "rich",
    "matplotlib",
]
CARTESIAN = ["pin>=2.7"]
SIM = ["mujoco>=3.17", "franky-sim==1.0.4", "av>=14", "matplotlib", "rich"]

setup(
    name="vla_adapter_ros",
    version="0.1.0",
    description="VLA-Adapter vision-language-action policies on physical manipulators with ROS 2",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=["vla_adapter_ros", "vla_adapter_ros.*"]), "vla_adapter_ros.config"],
    package_dir={"vla_adapter_ros.config": "config"},
    package_data={
        "vla_adapter_ros": ["checkpoints/*/*", "benchmarks/data/*"],
        "vla_adapter_ros.config": ["*.xml", "robots/*.yaml", "nodes/*.yaml"],
    },
    install_requires=[
        "numpy>=1.24",
        "pyyaml",
        "psutil",
        "pydantic>=2.6",
        "opencv-python-headless",
        "simplejpeg",
        "ruckig>=0.14",
    ],
    extras_require={
        "policy": POLICY,
        "train": TRAIN,
        "sim": SIM,
        "cartesian": CARTESIAN,
        "test": [*TRAIN, *SIM, *CARTESIAN, "pytest<9", "pytest-timeout", "hypothesis", "ruff"],
    },
    entry_points={"console_scripts": ["vla-adapter = vla_adapter_ros.cli.main:main"]},
)
