"""A Gaussian process, fitted by scikit-learn."""

import math
import warnings

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

JITTER = 1e-6
"""Least variance of a target, for a stable matrix."""


class GaussianProcess:
    """A Gaussian process with a Matérn kernel (ν = 5/2), a length scale for each feature, and white noise.

    scikit-learn fits them by marginal likelihood (Rasmussen & Williams 2006, chapter 5).

    Attributes:
        noise: standard deviation of the white noise.
    """

    def __init__(self, features: Array, targets: Array, variances: Array, kernel: object = None) -> None:
        """Fit the process.

        Args:
            features: shape (n, number of features).
            targets: standardised costs, shape (n,).
            variances: variance of each target beyond the white noise, shape (n,).
            kernel: a fitted kernel; None: it is fitted.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        self._features, self._targets, self._variances = features, targets, variances
        scales = Matern(np.full(features.shape[1], 0.7), (0.15, 5.0), nu=2.5)
        self._process = GaussianProcessRegressor(
            kernel or ConstantKernel(1.0, (0.05, 20.0)) * scales + WhiteKernel(0.05, (1e-4, 1.0)),
            alpha=variances + JITTER,
            optimizer=None if kernel else "fmin_l_bfgs_b",
        )
        with warnings.catch_warnings():
            # A length scale at its bound means that the feature has no effect.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process.fit(features, targets)
        self.noise = math.exp(self._process.kernel_.theta[-1] / 2)

    def fantasize(self, features: Array) -> "GaussianProcess":
        """Return the process conditioned on further points with their expected targets, as pending trials."""
        added = np.concatenate([self._targets, self.predict(features)[0]])
        variances = np.concatenate([self._variances, np.zeros(len(features))])
        return GaussianProcess(np.vstack([self._features, features]), added, variances, self._process.kernel_)

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the expected targets, without white noise; each of shape (n,)."""
        means, deviations = self._process.predict(features, return_std=True)
        return means, np.sqrt(np.maximum(deviations**2 - self.noise**2, JITTER))
