import threading

import pytest
import torch.distributed as dist
from lt_accel.failures import PeerLost
from lt_accel.process_group import host_store
from lt_accel.roll_call import assemble
from lt_accel.time_limit import within


@pytest.fixture
def connect():
    """Connections to one store, each as another process would have it."""
    server = host_store()
    return lambda: dist.TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False)


def gather(connect, ranks, world_size, seconds=20.0):
    """What each of these ranks got of an assembly: its word, or the error."""
    got = {}

    def come(rank):
        try:
            got[rank] = assemble(connect(), rank, world_size, seconds, "here")
        except (TimeoutError, PeerLost) as error:
            got[rank] = error

    threads = [threading.Thread(target=come, args=(rank,)) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_all_ranks_get_one_word_and_another_one_the_next_time(connect):
    first, second = gather(connect, range(3), 3), gather(connect, range(3), 3)
    assert len(first) == len(second) == 3
    assert len(set(first.values())) == len(set(second.values())) == 1
    assert first[0] != second[0]


def test_ranks_of_an_earlier_life_do_not_count(connect):
    gather(connect, [1], 2, seconds=0.1)
    got = gather(connect, [0], 2, seconds=1)
    assert "1 of 2 ranks did not come to here within 1 seconds: rank 1 is missing" in str(got[0])
    assert len(set(gather(connect, [0, 1], 2).values())) == 1


def test_each_rank_that_came_names_those_that_did_not(connect):
    got = gather(connect, [0, 2, 3], 6, seconds=1)
    assert all("ranks 1, 4, 5 are missing" in str(error) for error in got.values())
    assert "rank 0 is missing" in str(gather(connect, [1], 2, seconds=0.2)[1])


def test_a_store_that_ends_is_another_ranks_failure():
    server = host_store()
    store = dist.TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False)
    del server
    with pytest.raises(PeerLost, match="Rank 0 served the meeting point here and ended"):
        assemble(store, 1, 2, 20, "here")


def test_a_call_within_a_time_limit_returns_raises_or_is_left_alone():
    over = threading.Event()
    assert within(20, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(20, lambda: 1 / 0)
    with pytest.raises(TimeoutError, match=r"within 0\.05 seconds"):
        within(0.05, over.wait)
    over.set()
