// The closed forms of bnn.geometry. Each function has the name and the meaning of the Python function, in camelCase.
// Angles are in radians. A quantizer is {thresholds, values}: q(x) = values[i] for thresholds[i-1] <= x < thresholds[i].
const geometry = (() => {
  const LIMIT_COS = Math.sqrt(2 / Math.PI);

  // exp(x^2) erfc(x) for x >= 2, by its continued fraction.
  function scaledTail(x) {
    let fraction = x;
    for (let k = 100; k >= 1; k--) fraction = x + k / 2 / fraction;
    return 1 / (fraction * Math.sqrt(Math.PI));
  }

  function erf(x) {
    if (Math.abs(x) >= 2) return Math.sign(x) * (1 - Math.exp(-x * x) * scaledTail(Math.abs(x)));
    let term = x, sum = x;
    for (let n = 1; n < 60; n++) sum += (term *= (2 * x * x) / (2 * n + 1));
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }

  function erfcx(x) {
    return x >= 2 ? scaledTail(x) : Math.exp(x * x) * (1 - erf(x));
  }

  // The distribution function of the standard normal distribution, accurate in the lower tail, too.
  function normalCdf(x) {
    const z = -x / Math.SQRT2;
    return z >= 2 ? (Math.exp(-z * z) * scaledTail(z)) / 2 : (1 - erf(z)) / 2;
  }

  function logGamma(x) {
    const c = [676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
      12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
    const t = x + 6.5;
    const sum = c.reduce((total, value, i) => total + value / (x + i), 0.99999999999980993);
    return Math.log(2 * Math.PI) / 2 + (x - 0.5) * Math.log(t) - t + Math.log(sum);
  }

  function expectedCosSign(d) {
    return Math.min(Math.sqrt(d / Math.PI) * Math.exp(logGamma(d / 2) - logGamma(d / 2 + 0.5)), 1);
  }

  // The number of coordinates that share a scale is its weight; without weights it is 1.
  function expectedCosSignScaled(scale, weights = scale.map(() => 1)) {
    const largest = scale.reduce((x, y) => Math.max(x, y), 0), h = 0.5;
    const d = weights.reduce((x, y) => x + y, 0);
    const s = scale.map((x) => x / largest);
    function integrand(v) {
      const t = 2 * Math.exp(v);
      let log = 0, sum = 0;
      for (let i = 0; i < s.length; i++) {
        const term = 1 + t * s[i] * s[i];
        sum += (weights[i] * s[i]) / Math.sqrt(term);
        log += weights[i] * Math.log(term);
      }
      return sum * Math.exp((v - log) / 2);
    }
    // The integrand has its maximum near this point, and decays to both sides.
    const start = -Math.log(s.reduce((sum, x, i) => sum + weights[i] * x * x, 0));
    let total = integrand(start);
    for (const step of [h, -h]) {
      for (let v = start + step, value = Infinity; value > 1e-14 * total; v += step) total += value = integrand(v);
    }
    return Math.min((h * total * Math.sqrt(2 / d)) / Math.PI, 1);
  }

  function stdAngleSign(d) {
    return Math.sqrt((1 - 3 / Math.PI) / (1 - 2 / Math.PI) / d);
  }

  function directionAngleDensity(theta, d) {
    if (theta < 0 || theta > Math.PI) return 0;
    const logBeta = logGamma((d - 1) / 2) + logGamma(0.5) - logGamma(d / 2);
    return d === 2 ? Math.exp(-logBeta) : Math.exp((d - 2) * Math.log(Math.abs(Math.sin(theta))) - logBeta);
  }

  function ternaryCos(t) {
    return (LIMIT_COS * Math.exp((-t * t) / 4)) / Math.sqrt(erfcx(t / Math.SQRT2));
  }

  function ternaryZeros(t) {
    return erf(t / Math.SQRT2);
  }

  // The integrals of x^j phi(x) over each cell, for j = 0 to 4.
  function cellMoments(thresholds) {
    const edges = [-Infinity, ...thresholds, Infinity];
    const finite = edges.map((x) => (Number.isFinite(x) ? x : 0));
    const density = edges.map((x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI));
    const differences = (values) => values.slice(1).map((value, i) => value - values[i]);
    const moments = [differences(edges.map(normalCdf)), differences(density).map((x) => -x)];
    for (const power of [1, 2, 3]) {
      const ends = differences(finite.map((x, i) => x ** power * density[i]));
      moments.push(moments[power - 1].map((x, i) => power * x - ends[i]));
    }
    return moments;
  }

  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);

  function quantizerCos({ thresholds, values }) {
    const [mass, first] = cellMoments(thresholds);
    return dot(first, values) / Math.sqrt(dot(mass, values.map((x) => x * x)));
  }

  function quantizerCosStd({ thresholds, values }, d) {
    const moments = cellMoments(thresholds);
    const length = Math.sqrt(dot(moments[0], values.map((x) => x * x)));
    const unit = values.map((x) => x / length);
    const half = dot(moments[1], unit) / 2;
    let square = 0;
    unit.forEach((c1, i) => {
      const c0 = -half * c1 * c1, c2 = -half;
      const powers = [c0 * c0, 2 * c0 * c1, c1 * c1 + 2 * c0 * c2, 2 * c1 * c2, c2 * c2];
      powers.forEach((power, j) => (square += power * moments[j][i]));
    });
    return Math.sqrt(square / d);
  }

  function quantizerAngle(quantizer) {
    return Math.acos(quantizerCos(quantizer));
  }

  function quantizerAngleStd(quantizer, d) {
    return quantizerCosStd(quantizer, d) / Math.sin(quantizerAngle(quantizer));
  }

  function twoNumberR(theta, gain) {
    const cos = Math.cos(theta), sin = Math.sin(theta);
    return cos / Math.sqrt(cos * cos + (sin === 0 ? 0 : (sin * sin) / gain));
  }

  function rThreeNumbers(theta, gain, residualGain) {
    return twoNumberR(theta, gain / residualGain);
  }

  function exactR(theta, gain, residualGain, kappa) {
    const tan2 = Math.tan(theta) ** 2;
    return (Math.sign(Math.cos(theta)) * (1 + kappa)) / Math.sqrt(1 + 2 * kappa + (tan2 * residualGain) / gain);
  }

  function expectedSignFlips(r) {
    return Math.acos(Math.min(Math.max(r, -1), 1)) / Math.PI;
  }

  return {
    LIMIT_COS, normalCdf, expectedCosSign, expectedCosSignScaled, stdAngleSign, directionAngleDensity, ternaryCos,
    ternaryZeros, quantizerCos, quantizerCosStd, quantizerAngle, quantizerAngleStd, twoNumberR, rThreeNumbers, exactR,
    expectedSignFlips,
  };
})();
