"""LIBERO's episode as its users write it, pictures and all; runs in LIBERO's own environment.

Arguments: suite, number of the task, number of the initial state, file of actions (.npy), file to write.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("LP_NUM_THREADS", "1")
from libero.libero import benchmark, get_libero_path
from libero.libero.envs import OffScreenRenderEnv


def main(suite_name: str, task_id: str, trial: str, actions: str, output: str) -> None:
    suite = benchmark.get_benchmark(suite_name)()
    task = suite.get_task(int(task_id))
    bddl = Path(get_libero_path("bddl_files")) / task.problem_folder / task.bddl_file
    env = OffScreenRenderEnv(bddl_file_name=str(bddl), camera_heights=256, camera_widths=256)
    env.seed(0)
    states = suite.get_task_init_states(int(task_id))
    for episode in range(int(trial) + 1):
        env.reset()
        seen = env.set_init_state(states[episode])
    for _ in range(10):
        seen, *_ = env.step([0, 0, 0, 0, 0, 0, -1])
    seens, physics = [seen], [env.get_sim_state()]
    for action in np.load(actions):
        seen, _, done, _ = env.step(action.tolist())
        seens.append(seen)
        physics.append(env.get_sim_state())
        if done:
            break
    env.close()
    np.savez(
        output,
        physics=np.array(physics),
        hand=np.array([s["robot0_eef_pos"] for s in seens]),
        fingers=np.array([s["robot0_gripper_qpos"] for s in seens]),
        third_view=np.array([s["agentview_image"] for s in seens]),
        gripper=np.array([s["robot0_eye_in_hand_image"] for s in seens]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
