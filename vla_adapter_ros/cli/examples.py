"""The groups of commands, and what to type for each: shown by --help, parsed by a test."""

GROUPS = {
    "try": ("demo",),
    "data": ("record", "collect-demos", "collect-metaworld", "dataset"),
    "train": ("finetune", "evaluate", "serve", "checkpoint", "trials"),
    "robot": ("doctor", "contract", "measure", "bringup"),
    "operate": (
        "status",
        "watch",
        "instruct",
        "arm",
        "hold",
        "stop",
        "reset",
        "home",
        "speed",
        "scene",
        "console",
        "capsule",
    ),
    "maintainers": ("benchmark", "pretrain-grounding"),
}
EXAMPLES = {
    ("demo",): ["demo", "demo --episodes 3 --no-swap --output out/short_demo"],
    ("record",): [
        "record --dataset demos",
        "record --dataset demos --robot --contract my_arm.yaml --instruction 'pick up the red cube'",
        "record --dataset demos --robot --contract my_arm.yaml --teleop gamepad",
        "record --attach",
    ],
    ("collect-demos",): ["collect-demos --episodes 300 --dataset out/demonstrations"],
    ("collect-metaworld",): ["collect-metaworld --per-task 30 --dataset out/metaworld --jobs 2"],
    ("doctor",): ["doctor", "doctor --contract my_arm.yaml --checkpoint out/checkpoint --live"],
    ("contract", "new"): [
        "contract new my_arm.yaml",
        "contract new my_arm.yaml --urdf my_arm.urdf --camera /scene/image_raw --camera /wrist/image_raw",
    ],
    ("contract", "check"): ["contract check my_arm.yaml", "contract check my_arm.yaml --live"],
    ("contract", "show"): ["contract show my_arm.yaml"],
    ("measure", "delay"): ["measure delay", "measure delay --joint wrist_3_joint --step 0.01 --repeats 3"],
    ("bringup",): [
        "bringup",
        "bringup --console --record demos",
        "bringup --robot --contract my_arm.yaml --checkpoint my_checkpoint",
        "bringup --robot --contract my_arm.yaml --no-policy --mode dry_run",
    ],
    ("instruct",): ["instruct 'pick up the red cube'", "instruct ''"],
    ("status",): ["status", "status --namespace /left --json"],
    ("watch",): ["watch"],
    ("arm",): ["arm", "arm --namespace /left"],
    ("home",): ["home", "home --checkpoint my_checkpoint"],
    ("speed",): ["speed 0.3", "speed 1"],
    ("hold",): ["hold"],
    ("stop",): ["stop", "stop --namespace /left"],
    ("reset",): ["reset"],
    ("scene",): [
        "scene --checkpoint my_checkpoint",
        "scene --checkpoint my_checkpoint --image front=now.png",
        "scene --checkpoint old_checkpoint --learn demos",
    ],
    ("console",): [
        "console --contract my_arm.yaml --dataset demos",
        "console --contract my_arm.yaml --host 0.0.0.0 --tls-certificate cert.pem --tls-key key.pem",
    ],
    ("capsule", "save"): ["capsule save", "capsule save --no-images"],
    ("capsule", "show"): ["capsule show capsule_20261130T003304_fault.mcap"],
    ("capsule", "replay"): [
        "capsule replay capsule_20261130T003304_fault.mcap",
        "capsule replay capsule_20261130T003304_fault.mcap --checkpoint my_checkpoint",
    ],
    ("capsule", "strip"): ["capsule strip capsule_20261130T003304_fault.mcap --output report.mcap"],
    ("checkpoint", "calibrate"): ["checkpoint calibrate out/checkpoint --suite pick --episodes 300 --jobs 2"],
    ("pretrain-grounding",): ["pretrain-grounding --output out/grounded_tiny --scenes 6000"],
    ("finetune",): [
        "finetune --dataset out/demonstrations --output out/checkpoint",
        "finetune --dataset demos --output out/checkpoint --check-only",
    ],
    ("evaluate", "open-loop"): [
        "evaluate open-loop --checkpoint out/checkpoint --dataset out/demonstrations"
    ],
    ("evaluate", "closed-loop"): [
        "evaluate closed-loop --checkpoint out/checkpoint --scenes 30",
        "evaluate closed-loop --suite libero_spatial --checkpoint VLA-Adapter/LIBERO-Spatial-Pro",
    ],
    ("evaluate", "calvin"): ["evaluate calvin --installation my_calvin:make --checkpoint official"],
    ("serve",): ["serve", "serve --checkpoint official --platform libero --port 8001"],
    ("checkpoint", "info"): ["checkpoint info franka_sim_tiny"],
    ("checkpoint", "verify"): ["checkpoint verify out/checkpoint"],
    ("checkpoint", "certify"): [
        "checkpoint certify out/checkpoint --dataset demos",
        "checkpoint certify out/checkpoint --dataset demos --dtype bf16 --rows 100",
    ],
    ("checkpoint", "convert"): [
        "checkpoint convert official out/adopted --platform libero --contract my_arm.yaml"
    ],
    ("trials",): [
        "trials runs",
        "trials runs more_runs --compare lift_v1 lift_v2 --csv out/trials.csv",
    ],
    ("dataset", "label"): [
        "dataset label runs --episodes 3 --outcome failure --reason dropped",
        "dataset label runs --episodes 0-2,4 --outcome success",
    ],
    ("dataset", "info"): ["dataset info demos"],
    ("dataset", "check"): ["dataset check demos --strict"],
    ("dataset", "import-rlds"): [
        "dataset import-rlds libero_goal --form libero --contract my_arm.yaml --output out/libero",
        "dataset import-rlds my_set/1.0.0 --mapping my_set_mapping.yaml --output out/mine",
    ],
    ("dataset", "repair"): ["dataset repair demos --output demos_repaired"],
    ("dataset", "view"): ["dataset view demos"],
}
