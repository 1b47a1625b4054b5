"""Who gets which of a number of things, in contiguous shares: samples, micro-batches, workers."""


def split(count: int, parts: int) -> list[slice]:
    """Cut `count` things into `parts` contiguous shares that differ by one at most, the larger ones first."""
    size, larger = divmod(count, parts)
    ends = [size * (part + 1) + min(part + 1, larger) for part in range(parts)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def size_of(share: slice) -> int:
    """How many things are in a share."""
    return int(share.stop) - int(share.start)
