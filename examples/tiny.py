"""What the examples share: parts with random weights, and a pipeline run before and after.

Random weights draw noise, but the loop around them is the one that real weights are sampled with.
"""

import argparse
import functools
import time
from contextlib import contextmanager
from pathlib import Path

import diffusers
import numpy as np
import torch

import fastdiff.integrations.diffusers as fused

CONV = {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8}


def unet():
    """An unconditional UNet of 16x16 images."""
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=16,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        **CONV,
    ).eval()


def vae(channels=4, **options):
    """An auto-encoder that halves the sides of 32x32 images."""
    torch.manual_seed(1)
    return diffusers.AutoencoderKL(
        latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=32,
        **CONV,
        **options,
    ).eval()


def text_encoder(width=32):
    """A CLIP text model, and a tokenizer that knows single characters."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(2)
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=77)
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2}
    config = CLIPTextConfig(
        vocab_size=len(words), num_attention_heads=4, pad_token_id=len(words) - 1, **sizes, **ends
    )
    return CLIPTextModel(config).eval(), tokenizer


@contextmanager
def timed(scheduler):
    """The seconds that each ``step`` of a scheduler takes, in a list."""
    step, spent = scheduler.step, []

    @functools.wraps(step)  # pipelines look at its signature
    def watched(*args, **kwargs):
        start = time.perf_counter()
        result = step(*args, **kwargs)
        spent.append(time.perf_counter() - start)
        return result

    scheduler.step = watched
    try:
        yield spent
    finally:
        del scheduler.step


def draw(pipe, **call):
    """Images [N, H, W, C] in [0, 1] of a pipeline, and the median seconds of a scheduler's step."""
    pipe.set_progress_bar_config(disable=True)
    with timed(pipe.scheduler) as spent:
        generator = torch.Generator().manual_seed(0)
        images = pipe(generator=generator, output_type="np", **call).images
    return images, float(np.median(spent))


def compare(pipe, **call):
    """Draw, accelerate, draw again from the same seed. Returns both images, and prints how far
    apart they are and what a step of the scheduler took."""
    stock, before = draw(pipe, **call)
    fused.accelerate(pipe)
    ours, after = draw(pipe, **call)
    difference = 255 * float(np.abs(stock - ours).max())
    print(f"greatest difference: {difference:.2g} of a grey level of 255")
    print(f"step of the scheduler: {1e6 * before:.0f} us, fused {1e6 * after:.0f} us")
    return stock, ours


def main(doc, pipeline, call):
    """The command line of an example."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--steps", type=int, default=call["num_inference_steps"])
    parser.add_argument("--out", type=Path, help="a picture: stock left, fused right")
    args = parser.parse_args()
    both = compare(pipeline(), **{**call, "num_inference_steps": args.steps})
    if args.out:
        from diffusers.utils import numpy_to_pil

        numpy_to_pil(np.concatenate([images[:1] for images in both], 2))[0].save(args.out)
