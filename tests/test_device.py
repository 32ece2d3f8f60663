"""Threads and compiling; precision and memory are tested where they are used."""

import threading
import time

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException

from cardsynth.device import compiled, in_own_threads


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


def test_a_net_on_a_cpu_is_not_compiled_and_says_so():
    net = torch.nn.Linear(2, 2)
    with pytest.warns(UserWarning, match="not compiled: on cpu"):
        assert compiled(net, torch.device("cpu")) is net


def test_a_net_that_cannot_be_compiled_runs_as_it_is_and_says_why(monkeypatch):
    net, inputs, calls = torch.nn.Linear(2, 2), torch.ones(1, 2), []

    def compile_badly(module, **options):
        assert options == {"dynamic": False}

        def fail(*_):
            calls.append(1)
            raise BackendCompilerFailed(None, RuntimeError("no C compiler\nmore"), None)

        return fail

    monkeypatch.setattr(torch, "compile", compile_badly)
    call = compiled(net, torch.device("cuda"), dynamic=False)
    with pytest.warns(UserWarning, match="not compiled.*no C compiler") as said:
        assert torch.equal(call(inputs), net(inputs))
    assert "more" not in str(said[0].message)
    assert len(said) == 1
    assert torch.equal(call(inputs), net(inputs))
    assert len(calls) == 1
    assert issubclass(BackendCompilerFailed, TorchDynamoException)


def test_a_full_gpu_is_no_reason_to_stop_compiling(monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "compile", lambda module, **_: fail)
    with pytest.raises(torch.OutOfMemoryError):
        compiled(torch.nn.Linear(2, 2), torch.device("cuda"))(torch.ones(1, 2))
