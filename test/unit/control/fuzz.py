"""One random life of a controller, from a seed: any rate, lead, action space, route, and what befalls it."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
from receiver import CONTRACT, HOME, SAMPLE_S, Arm
from test_motion_properties import Plane

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.contract.schema import Workspace
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.errors import VlaAdapterError

RATES_HZ = (50.0, 100.0, 125.0, 200.0, 250.0, 500.0)  # whole milliseconds, as the receiver samples
LEADS_S = (0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
SPACES = ("joint_position", "joint_delta", "ee_delta", "ee_pose")
CALLS = ("hold", "stop", "reset", "arm", "home", "home", "set_speed", "set_speed")
ODD = (np.nan, np.inf, -np.inf, 1e308, 1e6, 4.0, -1e-308)


@lru_cache(maxsize=1)
def kinematics():
    """Of the shipped arm; None without pinocchio."""
    try:
        from vla_adapter_ros.control.urdf import contract_kinematics

        return contract_kinematics(read_contract("franka_sim_ee"))
    except (ImportError, VlaAdapterError):
        return None


def contract_of(rng: np.random.Generator, rate: float, every: int) -> Contract:
    """A contract that the controller node would accept at this rate."""
    space = str(rng.choice(SPACES if kinematics() is not None else SPACES[:2]))
    contract = read_contract("franka_sim_ee") if space.startswith("ee_") else CONTRACT
    contract = dataclasses.replace(contract, cameras={}, workspace=None)
    reference = str(rng.choice(["measured", "commanded", "chunk_start"]))
    action = dataclasses.replace(contract.action, space=space)
    if space.endswith("_delta"):
        action = dataclasses.replace(action, delta_reference=reference)
    lead = max(float(rng.choice(LEADS_S)), (every + 1) / rate)
    safety = dataclasses.replace(
        contract.safety,
        first_target=str(rng.choice(["refuse", "ramp"])),
        first_target_max_distance=float(rng.choice([0.1, 0.3, 100.0])),
        tracking_error_max=float(rng.choice([0.3, 100.0])),
    )
    takeover = str(rng.choice(["command", "motion"]))
    return dataclasses.replace(
        contract,
        action=action,
        safety=safety,
        command=dataclasses.replace(contract.command, command_delay_s=lead),
        teleop=dataclasses.replace(
            contract.teleop,
            route=str(rng.choice(["through_controller", "through_controller", "direct"])),
            takeover=takeover,
            hand_back=str(rng.choice(["auto", "instruct"])),
        ),
    )


class Life:
    """A controller and its arm; `live` lets things befall it, `check` judges the whole path."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        rate, every = float(rng.choice(RATES_HZ)), int(rng.integers(1, 9))
        self.contract = contract_of(rng, rate, every)
        ee = self.contract.action.space.startswith("ee_")
        box = None
        direct = self.contract.teleop.route == "direct"  # there a human leaves the box at will
        if not ee and not direct and rng.random() < 0.3:
            here = Plane().pose(HOME).position
            low, high = here - rng.uniform(0.05, 0.3, 3), here + rng.uniform(0.05, 0.3, 3)
            box = Workspace(tuple(low.tolist()), tuple(high.tolist()))
            self.contract = dataclasses.replace(self.contract, workspace=box)
        core = MotionCore(
            self.contract, 1 / rate, splice=str(rng.choice(["replace", "ensemble", "crossfade"]))
        )
        if ee or box is not None:
            core.set_kinematics(kinematics() if ee else Plane())
        self.box = box
        self.noise = float(rng.choice([0.0, 0.0005]))
        # A box: the set-point must be inside, so the arm is measured where it was sent.
        sag = float(rng.choice([0.0, 0.002, 0.01])) if box is None else 0.0
        self.arm = Arm(core, publish_every=every, sag=sag)
        self.arm.noise = lambda: rng.normal(0, self.noise, 7)
        self.session, self.instruction, self.sequence = "a", 1, 0

    def live(self, events: int = 12) -> None:
        """So many events, then until the arm rests."""
        self.arm.run(0.1)
        for _ in range(events):
            event = self.rng.choice(
                [self.chunk, self.odd, self.human, self.call, self.starve, self.device],
                p=[0.4, 0.13, 0.15, 0.16, 0.06, 0.1],
            )
            event()
            self.arm.run(self.period(self.rng.integers(0, 40)))
        self.arm.joint_states = True
        self.arm.core.set_speed(1.0)
        self.arm.run(7.0 + self.contract.command.command_delay_s)

    def period(self, ticks: int) -> float:
        return int(ticks) * self.arm.core.period_s

    def rows(self) -> Chunk:
        rng, now, names = self.rng, self.arm.now, self.contract.action_names
        size, drift, count = (
            rng.choice([0.0, 0.02, 0.3]),
            rng.choice([0.0, 0.5, 3.0]),
            int(rng.choice([1, 8, 30])),
        )
        space, arm = self.contract.action.space, len(names) - 1
        way = np.arange(count)[:, None] / self.contract.rate_hz * rng.normal(0, 1, arm) * drift
        values = rng.normal(0, size, (count, arm)) + way
        if space == "joint_position":
            values = values + HOME
        elif space == "ee_pose":
            pose = self.arm.core.kinematics.pose(self.arm.position)
            values = values * 0.2 + np.append(pose.position, _vector(pose.rotation))
        else:
            values = values * 0.1
        return Chunk(
            now + rng.uniform(-0.3, 0.1), np.column_stack([values, np.ones(count)]), names,
            self.contract.rate_hz, self.session, self.instruction, self.sequence, space,
        )  # fmt: skip

    def send(self, chunk: Chunk) -> None:
        self.sequence += 1
        try:
            self.arm.core.accept_chunk(chunk, self.arm.now)
        except VlaAdapterError:
            pass  # refusing is right

    def chunk(self) -> None:
        if self.rng.random() < 0.3:
            self.instruction += 1
        if self.rng.random() < 0.1:
            self.session = str(self.rng.choice(["a", "b"]))
        for _ in range(int(self.rng.integers(1, 4))):
            self.send(self.rows())
            self.arm.run(self.period(self.rng.integers(0, 25)))

    def odd(self) -> None:
        rng, chunk = self.rng, self.rows()
        value = float(rng.choice(ODD))
        spoiled = np.where(rng.random(chunk.rows.shape) < 0.2, value, chunk.rows)
        change = [
            {"rows": spoiled}, {"rows": np.full_like(chunk.rows, value)}, {"stamp": value},
            {"rate_hz": value}, {"rows": np.zeros((0, chunk.rows.shape[1]))}, {"rows": chunk.rows[:, :3]},
            {"rows": np.tile(chunk.rows[:1], (1001, 1))}, {"space": "ee_pose"}, {"sequence": -1},
            {"input_stamp": value}, {"instructed_at": value}, {"names": chunk.names[::-1]},
        ][int(rng.integers(12))]  # fmt: skip
        self.send(dataclasses.replace(chunk, **change))

    def human(self) -> None:
        """Commands through the controller, or the word that somebody leads past it."""
        rng, size = self.rng, self.rng.choice([0.0, 0.01, 0.3, 3.0])
        for _ in range(int(rng.integers(1, 30))):
            command = self.rows().rows[0] + rng.normal(0, size, len(self.contract.action_names))
            if rng.random() < 0.05:
                with np.errstate(over="ignore", invalid="ignore"):
                    command = command * float(rng.choice(ODD))
            stamp = self.arm.now + rng.uniform(-0.05, 0.02)
            try:
                self.arm.core.accept_teleop(command, stamp, self.arm.now)
            except VlaAdapterError:
                pass
            self.arm.run(self.period(rng.integers(1, 4)))

    def call(self) -> None:
        core, name = self.arm.core, str(self.rng.choice(CALLS))
        if name == "home":
            if self.rng.random() < 0.7:  # else somebody leads, and it is refused
                core.reset(), core.arm(), core.hold()
                self.arm.run(self.period(self.rng.integers(1, 60)))
            core.home(core.contract.arm_joints, (HOME + self.rng.normal(0, 0.3, 7)).tolist())
        elif name == "set_speed":
            core.set_speed(float(self.rng.choice([0.05, 0.1, 0.3, 0.8, 1.0])))
        else:
            getattr(core, name)()

    def starve(self) -> None:
        if self.rng.random() < 0.3:
            self.arm.joint_states = not self.arm.joint_states
        self.arm.starve(self.period(self.rng.integers(1, int(2 / self.arm.core.period_s))))

    def device(self) -> None:
        """On the route `direct`: a human's own device moves the arm smoothly."""
        if self.contract.teleop.route != "direct":
            return
        goal = self.arm.controller.sample(self.arm.now)[0] + self.rng.normal(0, 0.1, 7)
        goal = np.clip(goal, Limits.of(self.contract).low, Limits.of(self.contract).high)
        seconds = self.period(self.rng.integers(20, 60)) + 1.0
        self.arm.follow_device(goal, seconds, len(self.contract.action_names))

    def check(self) -> None:
        assert self.arm.resting and self.arm.core.trajectory(self.arm.now) is None
        limits = self.arm.core.limits if self.box is None else Limits.of(self.contract)
        self.arm.check(limits)
        step = np.abs(np.diff(self.arm.derivatives[0], axis=0))
        assert (step <= limits.acceleration * SAMPLE_S * 1.001).all()
        if self.box is not None:
            points = np.array([Plane().pose(q).position for q in self.arm.path[::5]])
            assert (points >= np.array(self.box.low) - 1e-6).all()
            assert (points <= np.array(self.box.high) + 1e-6).all()


def _vector(rotation: np.ndarray) -> np.ndarray:
    from vla_adapter_ros.control.rotation import rotation_vector

    return rotation_vector(rotation)


def live(seed: int) -> None:
    """A whole life; raises where a limit was broken."""
    life = Life(seed)
    life.live()
    life.check()
