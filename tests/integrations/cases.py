"""Configurations of every fused scheduler."""

BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
V, X0 = {"prediction_type": "v_prediction"}, {"prediction_type": "sample"}
LEADING = {"timestep_spacing": "leading", "steps_offset": 1}
TRAILING = {"timestep_spacing": "trailing"}
LINSPACE = {"timestep_spacing": "linspace"}
ZERO = {"rescale_betas_zero_snr": True, **TRAILING, **V}
THRESHOLD = {"thresholding": True, "sample_max_value": 1.3, "dynamic_thresholding_ratio": 0.9}
KARRAS, EXPONENTIAL = {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}
BETA = {"use_beta_sigmas": True}
MIN = {"final_sigmas_type": "sigma_min"}
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}

DDIM = [
    ({"clip_sample": False}, {}),
    ({"clip_sample": False, **BETAS, **LEADING, "set_alpha_to_one": False}, {}),
    ({"clip_sample": True, **TRAILING}, {"eta": 0.6}),
    ({"clip_sample_range": 0.7, **V}, {"eta": 1.0, "use_clipped_model_output": True}),
    ({"clip_sample": False, **LINSPACE, **X0}, {}),
    ({"clip_sample": False, **ZERO}, {}),
    (THRESHOLD, {}),
]
DDPM = [
    ({}, {}),
    ({"clip_sample": False, "variance_type": "fixed_large", **TRAILING}, {}),
    ({"clip_sample": False, "variance_type": "fixed_small_log", **V, **LINSPACE}, {}),
    ({"beta_schedule": "squaredcos_cap_v2", **X0}, {}),
    ({"clip_sample": False, **ZERO}, {}),
    (THRESHOLD, {}),
]
SIGMAS = [BETAS, {**BETAS, **LEADING, **V}, {**BETAS, **TRAILING}, {**BETAS, **KARRAS}]
FAMILIES = [{**BETAS, **EXPONENTIAL}, {**BETAS, **BETA}]
LAM = [
    {},
    {**BETAS, **LEADING, **V},
    {**TRAILING, **X0},
    KARRAS,
    EXPONENTIAL,
    BETA,
    FLOW,
    THRESHOLD,
]

# class -> [(config, options of step)]
CASES = {
    "DDIMScheduler": DDIM,
    "DDIMParallelScheduler": DDIM[:3],
    "DDPMScheduler": DDPM,
    "DDPMParallelScheduler": DDPM[:3],
    "CogVideoXDDIMScheduler": [({}, {}), ({**TRAILING, **V, "rescale_betas_zero_snr": True}, {})],
    "DDIMInverseScheduler": [({"clip_sample": False}, {}), ({"clip_sample": True, **V}, {})],
    "UnCLIPScheduler": [({"clip_sample": False, **X0}, {}), ({}, {}), ({"clip_sample": False}, {})],
    "PNDMScheduler": [
        ({"skip_prk_steps": True, **BETAS}, {}),
        ({"skip_prk_steps": True, **BETAS, **LEADING, "set_alpha_to_one": True}, {}),
        ({"skip_prk_steps": True, **TRAILING, **V}, {}),
    ],
    "DDPMWuerstchenScheduler": [({}, {}), ({"s": 0.02, "scaler": 1.4}, {})],
    "EulerDiscreteScheduler": [
        *((c, {}) for c in [*SIGMAS, *FAMILIES, {**BETAS, **X0}, {**BETAS, **TRAILING, **MIN}]),
        ({**BETAS, **ZERO}, {}),
        ({**BETAS, "timestep_type": "continuous", **V}, {}),
        ({**BETAS, "interpolation_type": "log_linear"}, {}),
        (BETAS, {"s_churn": 8.0, "s_tmin": 0.1, "s_tmax": 5.0, "s_noise": 1.02}),
    ],
    "EulerAncestralDiscreteScheduler": [(c, {}) for c in SIGMAS[:3]] + [({**BETAS, **ZERO}, {})],
    "HeunDiscreteScheduler": [
        *((c, {}) for c in [*SIGMAS, *FAMILIES, {**BETAS, **X0}]),
        ({**BETAS, **TRAILING, "clip_sample": True, "clip_sample_range": 0.7}, {}),
    ],
    "KDPM2DiscreteScheduler": [(c, {}) for c in [*SIGMAS, *FAMILIES]],
    "KDPM2AncestralDiscreteScheduler": [(c, {}) for c in [*SIGMAS, *FAMILIES]],
    "LMSDiscreteScheduler": [(c, {}) for c in [*SIGMAS, *FAMILIES, {**BETAS, **X0}]]
    + [(BETAS, {"order": 2})],
    "IPNDMScheduler": [({}, {})],
    "EDMEulerScheduler": [({}, {}), (V, {}), ({"sigma_schedule": "exponential"}, {})],
    "DPMSolverMultistepScheduler": [
        *((c, {}) for c in LAM),
        *(
            ({**c, "solver_order": o, "solver_type": k, "algorithm_type": a}, {})
            for o, k, a, c in [
                (1, "midpoint", "dpmsolver++", {}),
                (2, "heun", "dpmsolver++", MIN),
                (3, "midpoint", "dpmsolver++", {**BETAS, **TRAILING}),
                (2, "midpoint", "sde-dpmsolver++", {}),
                (2, "heun", "sde-dpmsolver++", KARRAS),
                (1, "midpoint", "sde-dpmsolver++", {}),
            ]
        ),
        ({"use_lu_lambdas": True, "euler_at_final": True}, {}),
        ({"lower_order_final": False, **MIN, "lambda_min_clipped": -5.1}, {}),
    ],
    "DPMSolverSinglestepScheduler": [
        ({}, {}),
        ({"solver_order": 3, **V}, {}),
        ({"algorithm_type": "sde-dpmsolver++", **MIN}, {}),
        ({"solver_type": "heun", **KARRAS}, {}),
    ],
    "EDMDPMSolverMultistepScheduler": [
        ({}, {}),
        ({"solver_order": 3, "sigma_schedule": "exponential"}, {}),
        ({"algorithm_type": "sde-dpmsolver++", **V}, {}),
    ],
    "DEISMultistepScheduler": [(c, {}) for c in LAM] + [({"solver_order": 3, **TRAILING}, {})],
    "UniPCMultistepScheduler": [
        *((c, {}) for c in LAM),
        ({"solver_order": 3, "disable_corrector": [0, 3]}, {}),
        ({"solver_type": "bh1", **MIN}, {}),
        ({"predict_x0": False, **MIN, "lower_order_final": False}, {}),
        ({**KARRAS, **MIN}, {}),
        ({**FLOW, "shift_terminal": 0.1}, {}),
        ({"rescale_betas_zero_snr": True, **V, **TRAILING}, {}),
    ],
    "SASolverScheduler": [
        *((c, {}) for c in LAM[:5]),
        ({"predictor_order": 3, "corrector_order": 4, "tau_func": lambda t: 0.4}, {}),
        ({"algorithm_type": "noise_prediction"}, {}),
    ],
    "FlowMatchEulerDiscreteScheduler": [
        ({}, {}),
        ({"shift": 3.0}, {}),
        ({"shift": 3.0, "shift_terminal": 0.1}, {}),
        ({"use_dynamic_shifting": True}, {}),
        ({"shift": 2.0, "stochastic_sampling": True}, {}),
        ({"invert_sigmas": True}, {}),
        (KARRAS, {}),
        (BETA, {}),
    ],
    "FlowMatchHeunDiscreteScheduler": [({}, {}), ({"shift": 3.0}, {})],
    "FlowMatchLCMScheduler": [({}, {}), ({"shift": 3.0}, {})],
    "LTXEulerAncestralRFScheduler": [
        ({}, {}),
        ({"eta": 0.4, "s_noise": 0.9}, {}),
        ({"eta": 0.0}, {}),
    ],
    "FlowMapEulerDiscreteScheduler": [({}, {}), ({"shift": 3.0}, {})],
    "MiniMaxH3Scheduler": [({}, {})],
    "CMStochasticIterativeScheduler": [({}, {}), ({"clip_denoised": False, "s_noise": 0.9}, {})],
    "LCMScheduler": [({}, {}), ({"clip_sample": True, **V}, {}), ({**THRESHOLD, **X0}, {})],
    "TCDScheduler": [({}, {}), (V, {"eta": 0.0}), (X0, {"eta": 1.0})],
    "SCMScheduler": [({}, {})],
}  # fmt: skip

PYRAMID = {"stages": 3}
CASES |= {
    "DPMSolverMultistepInverseScheduler": [
        *((c, {}) for c in LAM),
        ({"solver_order": 3, "solver_type": "heun", **BETAS}, {}),
        ({"solver_order": 1, "euler_at_final": True}, {}),
        ({"algorithm_type": "dpmsolver", **BETAS, **LEADING}, {}),
        ({"lower_order_final": False, "lambda_min_clipped": -5.1}, {}),
    ],
    "CogVideoXDPMScheduler": [
        ({}, {}),
        ({**TRAILING, **V, "rescale_betas_zero_snr": True}, {}),
        ({**LINSPACE, **X0, "snr_shift_scale": 1.0}, {}),
        ({**LEADING, "set_alpha_to_one": False}, {}),
    ],
    "ConsistencyDecoderScheduler": [({}, {}), ({"sigma_data": 0.8}, {})],
    "HeliosScheduler": [
        (PYRAMID, {}),
        ({**PYRAMID, "scheduler_type": "euler"}, {}),
        ({**PYRAMID, "solver_order": 3}, {}),
        ({**PYRAMID, "lower_order_final": False}, {}),
        ({**PYRAMID, "solver_type": "bh1", "disable_corrector": [0, 2]}, {}),
        ({**PYRAMID, "use_dynamic_shifting": True}, {}),
        ({**PYRAMID, "prediction_type": "sample"}, {}),
        ({**PYRAMID, "use_flow_sigmas": False, **V}, {}),
        ({"use_flow_sigmas": False, "prediction_type": "epsilon", "predict_x0": False}, {}),
        ({"stages": 1, "shift": 3.0, "scheduler_type": "euler"}, {}),
    ],
    "HeliosDMDScheduler": [(PYRAMID, {}), ({**PYRAMID, "use_dynamic_shifting": True}, {})],
    "DPMSolverSDEScheduler": [
        *(({**c, "noise_sampler_seed": 4}, {}) for c in [*SIGMAS, *FAMILIES]),
        ({**BETAS, "noise_sampler_seed": 4}, {"s_noise": 0.9}),
        ({**BETAS, "noise_sampler_seed": [4, 5]}, {}),
    ],
    "CosineDPMSolverMultistepScheduler": [
        ({}, {}),
        ({"solver_type": "heun", "sigma_schedule": "karras"}, {}),
        ({"solver_order": 1, "prediction_type": "epsilon"}, {}),
        ({"lower_order_final": False}, {}),
        ({"euler_at_final": True, "lower_order_final": False}, {}),
    ],
}  # fmt: skip
