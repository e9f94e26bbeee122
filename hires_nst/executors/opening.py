"""The executor of a run, as its settings say."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hires_nst.config import Config
from hires_nst.executors.devices import tile_devices
from hires_nst.executors.pool import Crew, TilePool
from hires_nst.executors.processes import ProcessCrew
from hires_nst.executors.ray_cluster import connect
from hires_nst.executors.ray_crew import RayCrew
from hires_nst.executors.worker import Setup
from hires_nst.processors import cores
from hires_nst.transfer.extractor import Extractor


@contextmanager
def tile_executor(
    config: Config,
    extract: Extractor,
    *,
    executor: str,
    address: str | None,
    on_lost: Callable[[str], None],
) -> Iterator[TilePool | None]:
    """What does the tiles of a run while the block runs; None where one worker on this machine is to do them.

    Args:
        extract: the network and the kind of device of the run, which is the workers' too.
        executor: `local` for processes on this machine, `ray` for a Ray cluster.
        address: of the cluster, see `connect`.
        on_lost: called with the reason when a worker is lost.

    Raises:
        ConfigError: see `connect`.
    """
    crew = _ray_crew(config, extract, address=address) if executor == "ray" else _process_crew(config, extract)
    if crew is None:
        yield None
        return
    with TilePool(crew, on_lost=on_lost, lease_seconds=config.batch.lease_seconds) as pool:
        yield pool


def _process_crew(config: Config, extract: Extractor) -> Crew | None:
    places = tile_devices(config.runtime.workers, config.runtime.device)
    if len(places) == 1:
        return None
    own = str(extract.device)
    places = [own if place in ("auto", "cuda") else place for place in places]
    threads = None if os.environ.get("OMP_NUM_THREADS") else max(1, cores() // len(places))
    network = copy.deepcopy(extract.network).cpu()
    return ProcessCrew(
        [
            Setup(
                network=network, device=place, dtype=extract.dtype, threads=threads, sharing=places.count(place),
                deterministic=config.runtime.deterministic, cuda_graphs=config.runtime.cuda_graphs,
            )
            for place in places
        ],
        lease_seconds=config.batch.lease_seconds,
    )  # fmt: skip


def _ray_crew(config: Config, extract: Extractor, *, address: str | None) -> Crew:
    cluster = connect(address)
    cpus, on_gpu = config.batch.cluster_cpus, extract.device.type == "cuda"
    gpus = cluster.gpus_for(config.batch.cluster_gpus) if on_gpu else 0.0
    room = cluster.room({"CPU": cpus, **({"GPU": gpus} if gpus else {})})
    wanted = config.runtime.workers
    setup = Setup(
        network=copy.deepcopy(extract.network).cpu(), device="cuda" if gpus else "cpu", dtype=extract.dtype,
        threads=max(1, int(cpus)), deterministic=config.runtime.deterministic, cuda_graphs=config.runtime.cuda_graphs,
    )  # fmt: skip
    return RayCrew(cluster, setup, workers=min(room, wanted) if isinstance(wanted, int) else room, cpus=cpus, gpus=gpus)
