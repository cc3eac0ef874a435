"""A robot policy that denoises chunks of actions, before and after ``fused.accelerate``.

DDPM, 100 steps, chunks of 16 actions with 7 joints each: a loop around a network that is faster
than its scheduler.

    python examples/policy.py [--chunks 20]
"""

import argparse
import statistics
import time

import diffusers
import torch
from torch import nn

import fastdiff.integrations.diffusers as fused

HORIZON, JOINTS, SEEN = 16, 7, 10


class Policy(nn.Module):
    """Actions from observations, by diffusion (Chi et al. 2023, "Diffusion policy")."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.scheduler = diffusers.DDPMScheduler(
            num_train_timesteps=100, beta_schedule="squaredcos_cap_v2", clip_sample=True
        )
        self.net = nn.Sequential(
            nn.Linear(HORIZON * JOINTS + SEEN + 1, 256), nn.SiLU(), nn.Linear(256, HORIZON * JOINTS)
        )

    @torch.inference_mode()
    def forward(self, observation, generator):
        """Actions [1, 16, 7] for an observation [1, 10]."""
        actions = torch.randn(1, HORIZON, JOINTS, generator=generator)
        self.scheduler.set_timesteps(100)
        for t in self.scheduler.timesteps:
            told = torch.cat((actions.flatten(1), observation, t.reshape(1, 1) / 100), 1)
            noise = self.net(told).reshape(actions.shape)
            actions = self.scheduler.step(noise, t, actions, generator=generator).prev_sample
        return actions


def act(policy, chunks):
    """The actions of the last chunk and the median seconds of a chunk."""
    generator, spent = torch.Generator().manual_seed(0), []
    for _ in range(chunks):
        observation = torch.randn(1, SEEN, generator=generator)
        start = time.perf_counter()
        actions = policy(observation, generator)
        spent.append(time.perf_counter() - start)
    return actions, statistics.median(spent)


def compare(chunks):
    """The actions before and after."""
    policy = Policy()
    stock, before = act(policy, chunks)
    fused.accelerate(policy)
    ours, after = act(policy, chunks)
    print(f"greatest difference of actions in [-1, 1]: {float((stock - ours).abs().max()):.2g}")
    print(f"a chunk: {1e3 * before:.1f} ms, fused {1e3 * after:.1f} ms")
    return stock, ours


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=20)
    compare(parser.parse_args().chunks)
