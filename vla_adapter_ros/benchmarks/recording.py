"""What the recorder loses, how long a save stalls it, and what it costs.

Two cameras and an arm publish over DDS from processes of their own; the real
recorder node writes episode after episode, the next one begun in the moment in
which the former ends. Afterwards the data set is compared with what was
published: every image carries its number.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vla_adapter_ros.benchmarks.process_probe import ProcessProbe
from vla_adapter_ros.benchmarks.recording_frames import read_number
from vla_adapter_ros.benchmarks.recording_graph import (
    ARM,
    ARM_HZ,
    confined,
    left_out,
    own_domain,
    record,
    recorder_process,
    sources,
)
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.contract.resources import robots_folder
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.system_info import CpuUsage, describe_system

SIZE, CAMERA_HZ = (640, 480), 30
EPISODE_S = 20.0
_DECODED = 8  # episodes whose images are decoded and read


def run_recording_benchmark(
    *,
    minutes: float = 10.0,
    episode_s: float = EPISODE_S,
    cores: int = 2,
    size: tuple[int, int] = SIZE,
    camera_hz: int = CAMERA_HZ,
    output: Path | None = None,
) -> dict[str, Any]:
    """Record in real time, then compare.

    Args:
        minutes: Recorded time, above 0.
        episode_s: Length of an episode [s], above 0.
        cores: Cores for everything together: sources, recorder, this process; 0: no restriction.
        size: Width and height of the images [px], even, width at least 320.
        camera_hz: Images per second of each camera, and rows per second.
        output: Folder to keep the data set in; default: it is deleted.

    Returns:
        {"rows", "saving", "cpu", "memory", "verdicts", "left_out", "settings", "machine"}; see `compare`,
        `saving_figures`. `left_out`: why frames were left out, the first of several in a row.

    Raises:
        ParameterError: a value that is not allowed.
        RecordingError: the recorder refused, or did not answer.
        ProcessError: its process ended.
    """
    if not (minutes > 0 and episode_s > 0 and cores >= 0):
        raise ParameterError(
            f"minutes = {minutes}, episode_s = {episode_s}, cores = {cores}: allowed is above 0, "
            "and 0 or more cores"
        )
    machine = describe_system()
    scratch_folder = tempfile.TemporaryDirectory(prefix="record_", dir=output)
    with scratch_folder as scratch, confined(cores), own_domain():
        folder = Path(scratch)
        contract = write_benchmark_contract(folder / "contract.yaml", size, camera_hz)
        root = folder / "set" if output is None else output / "set"
        usage = CpuUsage()
        with sources(folder, contract), recorder_process(folder, root) as runner:
            calls, probe = record(runner, contract, round(minutes * 60 / episode_s) or 1, episode_s)
            reasons = left_out(runner.log_file("recorder_node"))
        published = {name: np.load(folder / f"{name}.npy") for name in (*contract.cameras, ARM)}
        reader = DatasetReader(root)
        notes = json.loads((root / layout.RECORDINGS).read_text(encoding="utf-8"))["episodes"]
        return {
            "rows": compare(reader, contract, published),
            "saving": saving_figures(calls, notes),
            "cpu": cpu_figures(probe, notes) | usage.result(),
            "memory": probe.memory_figures(),
            "verdicts": [entry["level"] for entry in notes],
            "left_out": reasons,
            "settings": {
                "minutes": minutes, "episode_s": episode_s, "cores": cores, "cameras": len(contract.cameras),
                "size": list(size), "camera_hz": camera_hz, "arm_hz": ARM_HZ,
                "megabyte_per_minute": _size_mb(root) / (reader.num_frames / camera_hz / 60),
            },
            "machine": machine,
        }  # fmt: skip


def write_benchmark_contract(
    path: Path, size: tuple[int, int] = SIZE, camera_hz: int = CAMERA_HZ
) -> Contract:
    """The simulated Franka's contract with the cameras and the rate of this measurement."""
    values = yaml.safe_load((robots_folder() / "franka_sim.yaml").read_text(encoding="utf-8"))
    values["rate_hz"] = camera_hz
    for camera in values["cameras"].values():
        camera |= {"width": size[0], "height": size[1], "max_age_s": 3.0 / camera_hz}
    values["state"] = [entry for entry in values["state"] if entry["topic"] == "joint_states"]
    values["topics"] = {"joint_states": {"type": "joint_state", "max_age_s": 0.1}}
    values["action"]["max_age_s"] = 0.1
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return read_contract(path)


def compare(reader: DatasetReader, contract: Contract, published: dict[str, np.ndarray]) -> dict[str, Any]:
    """Compare a data set with what was published.

    Args:
        reader: The data set.
        contract: Its contract.
        published: Camera, or ARM -> stamps of its messages 0, 1, 2 ... [s], float64 (N,).

    Returns:
        `rows`, `images` (of the reference camera between the first and last row of each episode),
        `missing` and `repeated` of them as rows; `stale`: those of the missing for which another
        stream had published nothing fresh enough; `misplaced`: rows whose decoded reference image has
        another number than its stamp says, `second_camera_repeated` and `second_camera_skipped`: steps
        of the other cameras' numbers that are 0, or above 1; `source_gaps`: intervals in which the arm
        published nothing for longer than its samples may be old.
    """
    reference = contract.reference_camera
    stamps = published[reference]
    figures = dict.fromkeys(
        ("rows", "images", "missing", "stale", "repeated", "decoded", "misplaced",
         "second_camera_repeated", "second_camera_skipped"), 0,
    )  # fmt: skip
    decoded = set(np.linspace(0, reader.num_episodes - 1, _DECODED).round().astype(int).tolist())
    for episode in reader.episodes:
        rows = reader.rows(episode.index)[layout.STAMP]
        numbers = np.searchsorted(stamps, rows - 1e-5)  # stamps are exact to a microsecond
        inside = np.arange(numbers[0], numbers[-1] + 1)
        missing = np.setdiff1d(inside, numbers)
        figures["rows"] += len(rows)
        figures["images"] += len(inside)
        figures["missing"] += len(missing)
        figures["stale"] += sum(_is_stale(stamps[number], contract, published) for number in missing)
        figures["repeated"] += len(rows) - len(np.unique(numbers))
        if episode.index not in decoded:
            continue
        for camera in contract.cameras:
            found = np.array([read_number(image) for image in reader.images(camera, episode.index)])
            if camera == reference:
                figures["decoded"] += len(found)
                figures["misplaced"] += int((found != numbers).sum())
            else:
                steps = np.diff(found)
                figures["second_camera_repeated"] += int((steps == 0).sum())
                figures["second_camera_skipped"] += int((steps > 1).sum())
    figures["source_gaps"] = int((np.diff(published[ARM]) > contract.action.max_age_s).sum())
    return figures


def _is_stale(t: float, contract: Contract, published: dict[str, np.ndarray]) -> bool:
    """Whether some stream's newest published sample was too old at `t` [s], whatever the recorder did."""
    for name, stamps in published.items():
        allowed = contract.cameras[name].max_age_s if name in contract.cameras else contract.action.max_age_s
        before = int(np.searchsorted(stamps, t, side="right")) - 1
        if before < 0 or t - stamps[before] > allowed:
            return True
    return False


def saving_figures(calls: list[dict[str, float]], notes: list[dict[str, Any]]) -> dict[str, Any]:
    """Percentiles over episodes [s].

    `stall`: from asking for the end of an episode until the next one was recording; `on_disk`: until the
    former was safe; `save`: what the saving thread itself took.
    """
    stall = [call["stall_s"] for call in calls if "stall_s" in call]
    columns = {
        "stall": stall or [0.0],
        "on_disk": [call["on_disk_s"] for call in calls],
        "save": [entry["save_s"] for entry in notes],
    }
    figures: dict[str, Any] = {"episodes": len(notes)}
    for name, values in columns.items():
        figures |= {f"{name}_p{q}_s": float(np.percentile(values, q)) for q in (50, 95)}
        figures[f"{name}_max_s"] = max(values)
    return figures


def cpu_figures(probe: ProcessProbe, notes: list[dict[str, Any]]) -> dict[str, float]:
    """Fraction of one core while recording: the whole recorder, and encoding, saving and the rest."""
    total = probe.cpu_s / probe.seconds
    encoding = sum(entry["encode_cpu_s"] for entry in notes) / probe.seconds
    saving = sum(entry["save_cpu_s"] for entry in notes) / probe.seconds
    return {"recorder": total, "encoding": encoding, "saving": saving, "reception": total - encoding - saving}


def _size_mb(root: Path) -> float:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / 1e6


def format_result(result: dict[str, Any]) -> str:
    """A Markdown table, and what was measured on."""
    rows, saving, cpu, memory = (result[key] for key in ("rows", "saving", "cpu", "memory"))
    settings, machine = result["settings"], result["machine"]

    def times(name: str) -> str:
        return " / ".join(f"{saving[f'{name}_{part}_s']:.3f}" for part in ("p50", "p95", "max")) + " s"

    parts = " / ".join(f"{cpu[part]:.1%}" for part in ("reception", "encoding", "saving"))
    entries = {
        "images of the reference camera while recording": rows["images"],
        "rows": rows["rows"],
        "images without a row": rows["missing"],
        "of them without fresh joint states to go with, since none were published": rows["stale"],
        "images with two rows": rows["repeated"],
        "times in which the arm published nothing for too long": rows["source_gaps"],
        "rows with an image of another number (decoded)": f"{rows['misplaced']} of {rows['decoded']}",
        "second camera, steps by 0 / by more than 1": (
            f"{rows['second_camera_repeated']} / {rows['second_camera_skipped']} of {rows['decoded']}"
        ),
        "episodes": saving["episodes"],
        "stall from one episode to the next, p50 / p95 / max": times("stall"),
        "until an episode is on disk, p50 / p95 / max": times("on_disk"),
        "recorder, fraction of one core": f"{cpu['recorder']:.1%}",
        "of it reception and alignment / encoding / saving": parts,
        "memory at the start / at the end / peak": (
            f"{memory['first_mb']:.0f} / {memory['last_mb']:.0f} / {memory['peak_mb']:.0f} MB"
        ),
        "growth of memory in the second half": f"{memory['growth_mb_per_minute']:.2f} MB/min",
        "on disk": f"{settings['megabyte_per_minute']:.1f} MB/min",
    }
    size = "x".join(str(n) for n in settings["size"])
    lines = ["| what | measured |", "|---|--:|", *(f"| {key} | {value} |" for key, value in entries.items())]
    lines += [
        "",
        f"{settings['minutes']:g} minutes in episodes of {settings['episode_s']:g} s, "
        f"{settings['cameras']} cameras of {size} at {settings['camera_hz']} Hz, arm at "
        f"{settings['arm_hz']} Hz, everything on {settings['cores'] or 'all'} cores "
        f"({cpu['cores_in_use']:.2f} in use, {cpu['cores_stolen']:.2f} stolen); {machine['processor']}, "
        f"Python {machine['python']}, load average before: {machine['load_average']}.",
    ]
    return "\n".join(lines)
