"""A FluxPipeline, before and after ``fused.accelerate``; its prompt is given as embeddings.

python examples/flux.py [--steps 20] [--out both.png]
"""

import diffusers
import tiny
import torch

WORDS, WIDTH = 12, 32
CALL = {
    "prompt_embeds": torch.randn(1, WORDS, WIDTH, generator=torch.Generator().manual_seed(3)),
    "pooled_prompt_embeds": torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(4)),
    "height": 32,
    "width": 32,
    "num_images_per_prompt": 2,
    "num_inference_steps": 20,
}


def pipeline():
    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16,  # 2x2 patches of 4 channels
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    ).eval()
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, shift=3.0, base_image_seq_len=16, max_image_seq_len=256
        ),
        vae=tiny.vae(shift_factor=0.1),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=transformer,
    )


if __name__ == "__main__":
    tiny.main(__doc__, pipeline, CALL)
