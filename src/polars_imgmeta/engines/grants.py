"""The threads and the memory that an engine granted to the process of a worker."""

from __future__ import annotations

import os
import sys
from typing import Any

from polars_imgmeta.execution.runtime import DEFAULT

_MEBIBYTE = 1 << 20


def use_grant(threads: int | None) -> None:
    """Let this process use what it may.

    Args:
        threads: The number of threads that the caller has set; None for what the engine has
            granted or, where there is no engine, for no change.
    """
    grant = _granted() if threads is None else (threads, None)
    if grant is not None and grant != DEFAULT.granted:
        DEFAULT.grant(*grant)


def _granted() -> tuple[int, int | None] | None:
    """Return threads and bytes of memory; None outside the workers of engines."""
    for find in (_of_ray, _of_spark, _of_dask):
        cores, memory = find()
        if cores:
            return max(1, int(cores)), int(memory) if memory else None
    return None


def _of_ray() -> tuple[float, float | None]:
    """Return what `num_cpus` and `memory` of the task or actor say."""
    ray: Any = sys.modules.get("ray")
    if ray is None or not getattr(ray, "is_initialized", bool)():
        return 0, None
    context = ray.get_runtime_context()
    if context.get_task_id() is None and context.get_actor_id() is None:
        return 0, None  # the process of the user
    resources = context.get_assigned_resources()
    return resources.get("CPU", 0), resources.get("memory")


def _of_spark() -> tuple[float, float | None]:
    """Return what `spark.task.cpus` and `spark.executor.pyspark.memory` say."""
    spark: Any = sys.modules.get("pyspark.taskcontext")
    context = spark and spark.TaskContext.get()
    if not context:
        return 0, None
    # Of one worker: Spark has divided it by their number.
    memory = int(os.environ.get("PYSPARK_EXECUTOR_MEMORY_MB", "0"))
    return context.cpus(), memory * _MEBIBYTE


def _of_dask() -> tuple[float, float | None]:
    """Return the threads and the limit of memory of the worker, whose tasks share them."""
    distributed: Any = sys.modules.get("distributed.worker")
    if distributed is None:
        return 0, None
    try:
        worker = distributed.get_worker()
    except ValueError:  # the process of the user
        return 0, None
    return worker.state.nthreads, worker.memory_manager.memory_limit
