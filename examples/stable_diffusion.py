"""A StableDiffusionPipeline with classifier-free guidance, before and after ``fused.accelerate``.

python examples/stable_diffusion.py [--steps 20] [--out both.png]
"""

import inspect

import diffusers
import tiny
import torch

CALL = {
    "prompt": ["a lighthouse", "a teapot"],
    "negative_prompt": ["blur", "blur"],
    "guidance_scale": 5.0,
    "num_inference_steps": 20,
}
#: What the schedulers of Stable Diffusion 1 and 2 are told of its training.
TRAINED = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "clip_sample": False,
    "skip_prk_steps": True,
}


def pipeline(scheduler="DPMSolverMultistepScheduler", **options):
    """The pipeline with a scheduler of diffusers."""
    text_encoder, tokenizer = tiny.text_encoder()
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
        **tiny.CONV,
    ).eval()
    kind = getattr(diffusers, scheduler)
    known = inspect.signature(kind).parameters
    trained = {name: value for name, value in TRAINED.items() if name in known}
    return diffusers.StableDiffusionPipeline(
        vae=tiny.vae(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=kind(**trained, **options),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


if __name__ == "__main__":
    tiny.main(__doc__, pipeline, CALL)
