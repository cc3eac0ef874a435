"""The signatures of ``step``, and what schedulers of a kind have in common."""

from ..fused import Fused

INF = float("inf")


class Step(Fused):
    """Steps that take nothing but the model's output."""

    def step(self, model_output, timestep, sample, return_dict=True):
        done = self._advance(model_output, timestep, sample, return_dict)
        if done is None:
            return self._stock_step("step", model_output, timestep, sample, return_dict=return_dict)
        return done


class Noisy(Fused):
    """Steps that take a generator."""

    def step(self, model_output, timestep, sample, generator=None, return_dict=True):
        done = self._advance(model_output, timestep, sample, return_dict, generator)
        if done is None:
            return self._stock_step(
                "step", model_output, timestep, sample, generator=generator, return_dict=return_dict
            )
        return done


class Given(Fused):
    """Steps that take a generator, or the noise."""

    def step(
        self, model_output, timestep, sample, generator=None, variance_noise=None, return_dict=True
    ):
        done = self._advance(model_output, timestep, sample, return_dict, generator, variance_noise)
        if done is None:
            return self._stock_step(
                "step", model_output, timestep, sample, generator, variance_noise, return_dict
            )
        return done


class Eta(Fused):
    """The steps of DDIM."""

    def step(
        self, model_output, timestep, sample, eta=0.0, use_clipped_model_output=False,
        generator=None, variance_noise=None, return_dict=True,
    ):  # fmt: skip
        done = None
        if generator is None or variance_noise is None:
            done = self._advance(
                model_output, timestep, sample, return_dict, generator, variance_noise,
                self._chosen(eta, use_clipped_model_output),
            )  # fmt: skip
        if done is None:
            return self._stock_step(
                "step", model_output, timestep, sample, eta, use_clipped_model_output, generator,
                variance_noise, return_dict,
            )  # fmt: skip
        return done

    def _chosen(self, eta, clipped):
        return eta, clipped


class Churned(Fused):
    """Steps with the churn of Karras et al."""

    def step(
        self, model_output, timestep, sample, s_churn=0.0, s_tmin=0.0, s_tmax=INF, s_noise=1.0,
        generator=None, return_dict=True,
    ):  # fmt: skip
        options = (s_churn, s_tmin, s_tmax, s_noise) if s_churn else ()
        done = self._advance(model_output, timestep, sample, return_dict, generator, None, options)
        if done is None:
            return self._stock_step(
                "step", model_output, timestep, sample, s_churn, s_tmin, s_tmax, s_noise,
                generator=generator, return_dict=return_dict,
            )  # fmt: skip
        return done
