"""Which steps of an epoch one compiled call runs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence


def group_steps(
    kinds: Sequence[Hashable], sizes: Sequence[int], *, first: int, limit: int
) -> Iterator[range]:
    """Cuts the steps of an epoch into runs that one call can do: of one kind and one batch size.

    Runs end at multiples of `limit` wherever they start, so that a resumed epoch has the same runs, the same
    padding, and the same rounding as an uninterrupted one.

    Args:
        kinds: What each step of the epoch does.
        sizes: The number of examples of each step.
        first: The first step that is not done yet.
        limit: Steps in a run at most.

    Yields:
        Ranges of step numbers that together are `range(first, len(kinds))`.

    Example:
        >>> list(group_steps("aaaaab", [8, 8, 8, 8, 8, 8], first=1, limit=2))
        [range(1, 2), range(2, 4), range(4, 5), range(5, 6)]
    """
    start = first
    for step in range(first, len(kinds)):
        end = step + 1
        if end % limit == 0 or end == len(kinds) or (kinds[end], sizes[end]) != (kinds[step], sizes[step]):
            yield range(start, end)
            start = end
