"""Theory and streamed statistics on arrays. It needs only NumPy and SciPy.

It contains angles between vectors and their quantized versions, random rotations, sampling, predicted correlations,
quantizers with any number of levels, quantizers by name, signs that are fitted to dot products, angles in the metric of
the inputs, statistics of data that arrive in batches, and principal components.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    "estimators",
    angles=[
        "LIMIT_COS",
        "angle",
        "direction_angle_density",
        "direction_cos_density",
        "expected_cos2_sign",
        "expected_cos_sign",
        "expected_cos_sign_scaled",
        "sign",
        "std_angle_sign",
        "ternarize",
        "ternary_cos",
        "ternary_zeros",
    ],
    components=["as_images", "mosaic", "principal_components"],
    correlation=["expected_sign_flips", "predicted_correlation", "predicted_correlation_permuted"],
    fitted_signs=["FittedSigns", "fit_signs", "nearest_levels"],
    gain=["Gains", "exact_r", "gains", "levels_needed", "r_of_levels", "r_three_numbers", "two_number_r"],
    histograms=["Histogram2D", "even_edges"],
    input_metric=["ResidualGains", "angle_inputs", "residual_gain_split"],
    levels=[
        "best_ternary_threshold",
        "lloyd_max",
        "quantizer_angle",
        "quantizer_angle_std",
        "quantizer_cos",
        "quantizer_cos_std",
        "step_quantizer",
    ],
    moments=["CoordinateMoments", "UnitMoments"],
    named_quantizers=["QuantizerError", "ScalarQuantizer"],
    rotations=["Rotation", "random_rotation", "randomly_rotated", "walsh_hadamard"],
    sampling=["sample_angles", "sample_pair_angles"],
    streaming=["CorrelationStatistics", "CrossMoments", "SecondMoments"],
)
