"""Schedules: by hand, against PyTorch at every step, and resumed."""

from __future__ import annotations

import copy

import pytest

from minigrad import nn, optim

STEPS = 25


def sgd(library=optim, parameter=None, **options):
    """Two groups with different learning rates."""
    make = parameter or (lambda: nn.Parameter([1.0]))
    groups = [{"params": [make()]}, {"params": [make()], "lr": 0.4}]
    return library.SGD(groups, lr=1.0, **options)


def adam(library=optim, parameter=None):
    make = parameter or (lambda: nn.Parameter([1.0]))
    return library.Adam([{"params": [make()]}, {"params": [make()], "lr": 0.4}], lr=1.0)


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def run(schedule, steps):
    values = [rates(schedule.optimizer)]
    for _ in range(steps):
        schedule.step()
        values.append(rates(schedule.optimizer))
    return values


def test_step_by_hand():
    values = run(optim.StepLR(sgd(), step_size=2, gamma=0.5), 5)
    assert [first for first, _ in values] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert [second for _, second in values] == [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]


def test_cosine_by_hand():
    values = run(optim.CosineAnnealingLR(sgd(), T_max=4, eta_min=0.2), 4)
    root = 2**-0.5
    expected = [1, 0.6 + 0.4 * root, 0.6, 0.6 - 0.4 * root, 0.2]
    assert [first for first, _ in values] == pytest.approx(expected, rel=1e-12)
    assert [second for _, second in values][2:] == pytest.approx([0.3, 0.3 - 0.1 * root, 0.2])


def test_one_cycle_by_hand():
    # Up in steps 0 to 0.5 * 10 - 1 = 4, down in steps 4 to 9; half way is at 2 and at 6.5.
    options = {"div_factor": 4, "final_div_factor": 5, "anneal_strategy": "linear"}
    schedule = optim.OneCycleLR(sgd(momentum=0.9), 2.0, 10, pct_start=0.5, **options)
    values, momenta = [], []
    for step in range(10):
        assert schedule.last_epoch == step
        values.append(rates(schedule.optimizer)[0])
        momenta.append(schedule.optimizer.param_groups[1]["momentum"])
        schedule.step()
    up, down = [0.5, 0.875, 1.25, 1.625, 2.0], [2 - 0.38 * i for i in range(1, 6)]
    assert values == pytest.approx(up + down, rel=1e-12)
    assert momenta[:5] == pytest.approx([0.95, 0.925, 0.9, 0.875, 0.85], rel=1e-12)
    assert momenta[9] == pytest.approx(0.95, rel=1e-12)
    assert rates(schedule.optimizer)[0] == pytest.approx(0.1, rel=1e-12)  # it stays at the end


def test_one_cycle_moves_beta1_of_adam():
    schedule = optim.OneCycleLR(adam(), 2.0, 10, pct_start=0.5)
    assert schedule.optimizer.param_groups[0]["betas"] == (0.95, 0.999)
    run(schedule, 4)
    assert schedule.optimizer.param_groups[0]["betas"] == pytest.approx((0.85, 0.999))


@pytest.mark.parametrize("pct_start", [0, 0.1, 1])
@pytest.mark.parametrize("total_steps", [1, 10])
def test_one_cycle_without_a_way_up_or_down(pct_start, total_steps):
    """PyTorch divides by zero where a phase has no length."""
    values = run(optim.OneCycleLR(sgd(), 2.0, total_steps, pct_start=pct_start), total_steps)
    flat = [rate for pair in values for rate in pair]
    assert min(flat) > 0
    assert max(flat) <= 2
    if total_steps == 10:
        assert max(flat) == pytest.approx(2, rel=0.03)


AGAINST_TORCH = {
    "StepLR": (sgd, "StepLR", {"step_size": 7}),
    "StepLR gamma": (sgd, "StepLR", {"step_size": 1, "gamma": 0.9}),
    "CosineAnnealingLR": (sgd, "CosineAnnealingLR", {"T_max": STEPS}),
    "CosineAnnealingLR and up": (sgd, "CosineAnnealingLR", {"T_max": 10, "eta_min": 0.01}),
    "OneCycleLR": (sgd, "OneCycleLR", {"max_lr": 3.0, "total_steps": STEPS}),
    "OneCycleLR groups": (sgd, "OneCycleLR", {"max_lr": [3.0, 1.0], "total_steps": STEPS}),
    "OneCycleLR of Adam": (adam, "OneCycleLR", {"max_lr": 3.0, "total_steps": STEPS}),
    "OneCycleLR without momentum": (
        sgd,
        "OneCycleLR",
        {"max_lr": 3.0, "total_steps": STEPS, "cycle_momentum": False},
    ),
    "OneCycleLR options": (
        sgd,
        "OneCycleLR",
        {
            "max_lr": 3.0,
            "total_steps": STEPS,
            "pct_start": 0.45,
            "anneal_strategy": "linear",
            "base_momentum": 0.5,
            "max_momentum": 0.9,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
        },
    ),
}


@pytest.mark.parametrize("case", AGAINST_TORCH)
def test_every_step_as_pytorch(case):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    make, name, options = AGAINST_TORCH[case]
    mine = make()
    theirs = make(torch.optim, lambda: torch.ones(1, requires_grad=True))
    schedule = getattr(optim, name)(mine, **options)
    expected = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    steps = STEPS if name == "OneCycleLR" else STEPS + 1  # theirs goes on after its end
    for step in range(steps):
        found = [group | {"params": None} for group in mine.param_groups]
        for group, oracle in zip(found, theirs.param_groups, strict=True):
            for key in group.keys() & {"lr", "momentum", "betas"}:
                # PyTorch multiplies its way from step to step, and so rounds a little at each
                assert group[key] == pytest.approx(oracle[key], rel=1e-10, abs=1e-15), (step, key)
        assert schedule.get_last_lr() == rates(mine)
        if step < STEPS:
            theirs.step()
            schedule.step()
            expected.step()


@pytest.mark.parametrize("case", AGAINST_TORCH)
def test_a_resumed_schedule_goes_on_as_before(case):
    make, name, options = AGAINST_TORCH[case]
    schedule = getattr(optim, name)(make(), **options)
    run(schedule, 9)
    saved = schedule.state_dict()
    unchanged = copy.deepcopy(saved)
    expected = run(schedule, STEPS - 9)
    resumed = getattr(optim, name)(make(), **options)
    run(resumed, 3)
    resumed.load_state_dict(saved)
    assert run(resumed, STEPS - 9) == expected
    assert saved == unchanged
    saved["base_lrs"][0] = schedule.state_dict()["base_lrs"][0] = -1
    assert schedule.base_lrs[0] == resumed.base_lrs[0] == unchanged["base_lrs"][0]


def test_a_schedule_can_be_made_after_the_optimizer_was_resumed():
    """Then the optimizer's learning rate is not where the schedule began."""
    optimizer = sgd()
    schedule = optim.StepLR(optimizer, 2)
    run(schedule, 5)
    other = sgd()
    other.load_state_dict(optimizer.state_dict())
    resumed = optim.StepLR(other, 2)
    resumed.load_state_dict(schedule.state_dict())
    assert run(resumed, 5) == run(schedule, 5)


def test_the_state_of_another_schedule_is_refused():
    schedule = optim.StepLR(sgd(), 2)
    with pytest.raises(ValueError, match="StepLR: load_state_dict expects"):
        schedule.load_state_dict(optim.CosineAnnealingLR(sgd(), 2).state_dict())
    single = optim.SGD([nn.Parameter([1.0])])
    with pytest.raises(ValueError, match="StepLR: load_state_dict expects"):
        schedule.load_state_dict(optim.StepLR(single, 2).state_dict())


class NoMomentum(optim.Optimizer):
    def __init__(self):
        super().__init__([nn.Parameter([1.0])], {"lr": 1.0, "weight_decay": 0.0})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.StepLR(sgd(), 0), "StepLR: step_size expects a number >= 1, got 0"),
        (lambda: optim.CosineAnnealingLR(sgd(), 0), "CosineAnnealingLR: T_max expects a number"),
        (lambda: optim.OneCycleLR(sgd(), 1.0, 0), "OneCycleLR: total_steps expects a number >= 1"),
        (lambda: optim.OneCycleLR(sgd(), [1.0], 5), r"max_lr expects 2 numbers, got \[1.0\]"),
        (lambda: optim.OneCycleLR(sgd(), 1.0, 5, pct_start=1.5), "pct_start expects a number from"),
        (
            lambda: optim.OneCycleLR(sgd(), 1.0, 5, anneal_strategy="cosine"),
            r"anneal_strategy expects one of \('cos', 'linear'\), got cosine",
        ),
        (lambda: optim.OneCycleLR(NoMomentum(), 1.0, 5), "cycle_momentum expects False for"),
    ],
)
def test_impossible_schedules(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_one_cycle_ends():
    schedule = optim.OneCycleLR(sgd(), 1.0, 5)
    run(schedule, 5)
    with pytest.raises(ValueError, match="at most total_steps = 5 times"):
        schedule.step()
    assert schedule.last_epoch == 5


def test_one_cycle_without_momentum_takes_any_optimizer():
    schedule = optim.OneCycleLR(NoMomentum(), 1.0, 5, cycle_momentum=False)
    assert rates(schedule.optimizer) == pytest.approx([1 / 25])


def test_a_new_schedule_is_one_method():
    class Harmonic(optim.LRSchedule):
        def lr(self, base_lr):
            return base_lr / (1 + self.last_epoch)

    assert [first for first, _ in run(Harmonic(sgd()), 3)] == [1, 1 / 2, 1 / 3, 1 / 4]
    with pytest.raises(NotImplementedError, match="LRSchedule has no lr method"):
        optim.LRSchedule(sgd())
