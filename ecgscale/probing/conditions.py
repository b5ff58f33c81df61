"""Robustness: test recordings under a task's condition, noisier or with fewer leads."""

from collections.abc import Callable
from zlib import crc32

import torch

from ecgscale.data.batches import Batch
from ecgscale.data.noise import SAMPLING_HZ, Noise
from ecgscale.data.recording import ABSENT_LEAD, lead_ids
from ecgscale.spec.tasks import Task

Change = Callable[[Batch, int], Batch]  # a batch, and the place of its first recording among those of its split


def change_of(task: Task, corpus_hz: int, any_leads: bool) -> Change:
    """What a task's condition does to a batch of test recordings; the same at every call.

    Leads that are not kept are not there for a backbone of ``any_leads``, and zero for another. Raises ValueError for
    noise on a corpus that is not at the noise's rate.
    """
    if task.noise and corpus_hz != SAMPLING_HZ:
        raise ValueError(f"task {task.name}: noise is at {SAMPLING_HZ} Hz, corpus {task.corpus} at {corpus_hz} Hz")
    noise = Noise("eval") if task.noise else None
    ids = torch.from_numpy(lead_ids(task.leads))

    def change(batch: Batch, first: int) -> Batch:
        if noise is not None:
            draw = torch.Generator().manual_seed(crc32(f"{task.noise} {first}".encode()))
            ratio = torch.full((len(batch.signal),), task.snr_db, device=batch.signal.device)
            batch = batch._replace(signal=batch.signal + noise.like(batch.signal, task.noise, ratio, draw))
        return fewer_leads(batch, ids, any_leads) if task.leads else batch

    return change


def fewer_leads(batch: Batch, ids: torch.Tensor, any_leads: bool) -> Batch:
    """Only the leads of these numbers: rows of others are taken out, or set to zero if not ``any_leads``.

    Raises ValueError if the recordings have none of them.
    """
    leads = batch.leads.expand(len(batch.signal), -1)
    kept = torch.isin(leads, ids.to(leads.device)) & (leads != ABSENT_LEAD)
    if not kept.any(1).all():
        raise ValueError("a recording has none of the leads that its task keeps")
    if not any_leads:
        return batch._replace(signal=batch.signal * kept[..., None])
    columns = kept.any(0)  # rows of a batch may have different leads
    left = leads[:, columns].masked_fill(~kept[:, columns], ABSENT_LEAD)
    return batch._replace(signal=batch.signal[:, columns] * kept[:, columns, None], leads=left)
