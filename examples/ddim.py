"""A DDIMPipeline, before and after ``fused.accelerate``; eta 0.5, so with noise.

python examples/ddim.py [--steps 20] [--out both.png]
"""

import diffusers
import tiny

CALL = {"batch_size": 4, "eta": 0.5, "num_inference_steps": 20}


def pipeline():
    return diffusers.DDIMPipeline(tiny.unet(), diffusers.DDIMScheduler())


if __name__ == "__main__":
    tiny.main(__doc__, pipeline, CALL)
