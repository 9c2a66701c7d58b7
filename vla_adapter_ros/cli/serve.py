"""`vla-adapter serve`: a policy behind the interface of an evaluation harness."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from vla_adapter_ros.choices import PlatformName
from vla_adapter_ros.cli.arguments import DEVICE_HELP, announce_device, listed, whole, wrong_arguments
from vla_adapter_ros.cli.checkpoint_command import locate_checkpoint
from vla_adapter_ros.contract.shipped import SHIPPED_CHECKPOINT
from vla_adapter_ros.errors import HarnessError, ParameterError


def add_serve(commands: Any) -> None:
    """Add `serve` to the parser's commands."""
    parser = commands.add_parser(
        "serve",
        help="answer the benchmarks of vla-eval with a checkpoint",
        description="Answer the benchmarks of vla-eval with a checkpoint. What listens is vla-eval's own "
        "server, without any authentication: on an address that others reach, anybody can ask.",
    )
    parser.add_argument(
        "--checkpoint",
        default=SHIPPED_CHECKPOINT,
        help="directory, hub id or shipped name; default: %(default)s",
    )
    parser.add_argument(
        "--platform", choices=PlatformName.words(),
        help="what an official checkpoint was trained for; default: it is one of this package",
    )  # fmt: skip
    parser.add_argument(
        "--cameras", type=listed(str), default=(), metavar="NAME,NAME",
        help="the benchmark's images in the order of training; default: by name, else as they come",
    )  # fmt: skip
    parser.add_argument(
        "--rows", type=whole(1), help="rows executed of each chunk; default: 4, of an official checkpoint all"
    )
    parser.add_argument("--device", default="auto", help=DEVICE_HELP)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=whole(1, 65535), default=8000, help="port to listen on")
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    device = announce_device(options.device)
    try:
        from vla_eval.model_servers.serve import serve
    except ImportError as error:
        raise HarnessError(f"{error}: needed is vla-eval, `pip install vla-eval`") from None
    from vla_adapter_ros.harnesses.vla_eval_server import VlaAdapterModelServer

    with wrong_arguments(ParameterError):
        server = VlaAdapterModelServer(
            str(locate_checkpoint(options.checkpoint)),
            platform=options.platform or "",
            device=device,
            cameras=options.cameras,
            rows=options.rows or 0,
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    print(f"ready: ws://{options.host}:{options.port}", flush=True)
    serve(server, host=options.host, port=options.port)
    return 0
