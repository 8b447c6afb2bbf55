"""Whether a terminal is still there."""

import select


def has_hung_up(fd: int) -> bool:
    """Whether the other end of the terminal (or pipe) ``fd`` is gone (poll(2))."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))
