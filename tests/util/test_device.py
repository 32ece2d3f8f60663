"""Threads and compiling; precision and memory are tested where they are used."""

import threading
import time

import pytest
import torch

from cardsynth.util.device import compile_net, in_own_threads


def test_results_come_in_order_each_from_one_thread():
    threads = torch.get_num_threads()

    def work(item, stopped):
        assert not stopped.is_set()
        time.sleep(0.01 * (5 - item))
        return item, torch.get_num_threads()

    assert in_own_threads(work, range(5)) == [(item, 1) for item in range(5)]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_stops_the_others(error, monkeypatch):
    threads, started = torch.get_num_threads(), threading.Event()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def work(item, stopped):
        if item == 0:
            started.wait(10)
            raise error("no")
        started.set()
        assert stopped.wait(10)
        return item

    with pytest.raises(error):
        in_own_threads(work, range(2))
    monkeypatch.undo()
    torch.set_num_threads(threads)


def test_auto_compiles_on_a_gpu_alone(monkeypatch):
    net, tried = torch.nn.Linear(2, 2), []
    monkeypatch.setattr(torch, "compile", lambda module, mode: (mode, module))
    assert compile_net(net, "auto", torch.device("cpu"), tried.append) is net
    assert compile_net(net, "no", torch.device("cuda"), tried.append) is net
    assert tried == []
    assert compile_net(net, "auto", torch.device("cuda"), tried.append) == ("default", net) == tried[0]
    assert compile_net(net, "reduce-overhead", torch.device("cpu"), tried.append) == ("reduce-overhead", net)


def test_a_net_that_cannot_be_compiled_stays_as_it_is_and_says_why(monkeypatch):
    net = torch.nn.Linear(2, 2)

    def fail(_):
        raise ImportError("no C compiler\nmore")

    monkeypatch.setattr(torch, "compile", lambda module, mode: module)
    with pytest.warns(UserWarning, match=r"not compiled \(default\).*no C compiler$") as said:
        assert compile_net(net, "default", torch.device("cpu"), fail) is net
    assert len(said) == 1


def test_a_full_gpu_is_no_reason_to_stop_compiling(monkeypatch):
    def fail(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "compile", lambda module, mode: module)
    with pytest.raises(torch.OutOfMemoryError):
        compile_net(torch.nn.Linear(2, 2), "auto", torch.device("cuda"), fail)
