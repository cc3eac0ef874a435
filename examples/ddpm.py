"""A DDPMPipeline, before and after ``fused.accelerate``.

python examples/ddpm.py [--steps 50] [--out both.png]
"""

import diffusers
import tiny

CALL = {"batch_size": 4, "num_inference_steps": 50}


def pipeline():
    return diffusers.DDPMPipeline(tiny.unet(), diffusers.DDPMScheduler())


if __name__ == "__main__":
    tiny.main(__doc__, pipeline, CALL)
