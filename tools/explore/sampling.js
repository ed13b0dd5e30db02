// Sampled kernels, their quantized versions and their dot products with sampled inputs.
//
// Inputs are a ~ N(0, S), S = diag(variance), variance_i ~ i^-decay. Kernels are w_c ~ N(0, diag(scale^2)),
// scale_i^2 ~ i^-exponent, with the exponent that gives the gain. The mean of both is 1.
const sampling = (() => {
  const STEEPEST = 40; // the largest exponent: nearly one coordinate is left

  // Normal numbers that are the same for the same seed: the generator sfc32, and the ziggurat of 128 layers.
  function normals(seed) {
    let a = seed | 0, b = 0x9e3779b9 | 0, c = 0x243f6a88 | 0, count = 1;
    function bits() {
      const sum = (((a + b) | 0) + count) | 0;
      count = (count + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + sum) | 0;
      return sum;
    }
    for (let i = 0; i < 20; i++) bits();
    const uniform = () => ((bits() >>> 0) + 0.5) / 4294967296;
    function tail(negative) {
      for (;;) {
        const x = Math.log(uniform()) / R, y = Math.log(uniform());
        if (-2 * y >= x * x) return negative ? x - R : R - x;
      }
    }
    return function next() {
      for (;;) {
        const layer = bits() & 127, u = 2 * uniform() - 1;
        if (Math.abs(u) < RATIO[layer]) return u * EDGE[layer];
        if (layer === 0) return tail(u < 0);
        const x = u * EDGE[layer];
        const low = Math.exp(-0.5 * (EDGE[layer] * EDGE[layer] - x * x));
        const high = Math.exp(-0.5 * (EDGE[layer + 1] * EDGE[layer + 1] - x * x));
        if (high + uniform() * (low - high) < 1) return x;
      }
    };
  }

  const R = 3.442619855899, AREA = 9.91256303526217e-3;
  const EDGE = new Float64Array(129), RATIO = new Float64Array(128);
  (function fill() {
    let f = Math.exp(-0.5 * R * R);
    EDGE[0] = AREA / f;
    EDGE[1] = R;
    for (let i = 2; i < 128; i++) {
      EDGE[i] = Math.sqrt(-2 * Math.log(AREA / EDGE[i - 1] + f));
      f = Math.exp(-0.5 * EDGE[i] * EDGE[i]);
    }
    for (let i = 0; i < 128; i++) RATIO[i] = EDGE[i + 1] / EDGE[i];
  })();

  function powers(d, exponent) {
    const values = new Float64Array(d), log = exponent < 0 ? Math.log(d) : 0;
    let sum = 0;
    for (let i = 0; i < d; i++) sum += values[i] = Math.exp(-exponent * (Math.log(i + 1) - log));
    for (let i = 0; i < d; i++) values[i] *= d / sum;
    return values;
  }

  // Logarithms and weights with which sums over i = 1 to d of smooth functions of log i have few terms: the first 64
  // numbers are themselves; each longer stretch has the three points of Gauss's rule for equally spaced numbers.
  function nodes(d) {
    const logs = [], weights = [];
    const add = (i, weight) => { logs.push(Math.log(i)); weights.push(weight); };
    let first = 1;
    while (first <= d) {
      const length = first <= 64 ? 1 : Math.min(Math.ceil(first / 12), d - first + 1);
      const middle = first + (length - 1) / 2;
      const square = (3 * length * length - 7) / 20; // of the distance of the outer points
      if (length < 4) for (let i = 0; i < length; i++) add(first + i, 1);
      else {
        const outer = (length * (length * length - 1)) / 24 / square;
        add(middle, length - 2 * outer);
        for (const side of [-1, 1]) add(middle + side * Math.sqrt(square), outer);
      }
      first += length;
    }
    return { logs: Float64Array.from(logs), weights: Float64Array.from(weights) };
  }

  function gainOf(variance, squares) {
    let gain = 0;
    for (let i = 0; i < variance.length; i++) gain += variance[i] * squares[i];
    return gain / variance.length;
  }

  // The inputs and the kernels with a gain, or with the nearest gain that is possible; and the range of gains.
  function family(d, decay, gain) {
    const points = nodes(d), range = [-STEEPEST, STEEPEST].map((exponent) => gainAt(points, decay, exponent).gain);
    let exponent = 0;
    if (decay > 0) {
      if (gain <= range[0]) exponent = -STEEPEST;
      else if (gain >= range[1]) exponent = STEEPEST;
      else exponent = solve(points, decay, gain);
    }
    const variance = powers(d, decay), squares = powers(d, exponent);
    return { variance, scale: squares.map(Math.sqrt), exponent, gain: gainOf(variance, squares), range, points };
  }

  // The gain of kernels with an exponent, and the derivative of its logarithm.
  function gainAt({ logs, weights }, decay, exponent) {
    const far = logs[logs.length - 1], shift = exponent < 0 ? far : 0;
    let count = 0, inputs = 0, mass = 0, both = 0, mean = 0, bothMean = 0;
    for (let i = 0; i < logs.length; i++) {
      const variance = weights[i] * Math.exp(-decay * logs[i]), square = Math.exp(-exponent * (logs[i] - shift));
      count += weights[i];
      inputs += variance;
      mass += weights[i] * square;
      mean += weights[i] * square * logs[i];
      both += variance * square;
      bothMean += variance * square * logs[i];
    }
    return { gain: (count * both) / (inputs * mass), slope: mean / mass - bothMean / both };
  }

  // The exponent of kernels with a gain, by Newton's method on its logarithm, within a bracket.
  function solve(points, decay, target) {
    let low = -STEEPEST, high = STEEPEST, exponent = 0;
    for (let step = 0; step < 100 && high - low > 1e-13; step++) {
      const { gain, slope } = gainAt(points, decay, exponent), error = Math.log(gain / target);
      if (Math.abs(error) < 1e-14) break;
      if (error > 0) high = exponent;
      else low = exponent;
      const next = exponent - error / slope;
      exponent = next > low && next < high ? next : (low + high) / 2;
    }
    return exponent;
  }

  // The exact mean cosine between kernels and their signs, without rotation.
  function expectedCos({ exponent, points: { logs, weights } }) {
    const shift = exponent < 0 ? logs[logs.length - 1] : 0;
    return geometry.expectedCosSignScaled(logs.map((log) => Math.exp((-exponent / 2) * (log - shift))), weights);
  }

  function applied({ thresholds, values }) {
    if (values.length === 2) return (x) => (x >= thresholds[0] ? values[1] : values[0]);
    return (x) => {
      let i = 0;
      while (i < thresholds.length && x >= thresholds[i]) i++;
      return values[i];
    };
  }

  // A sampler of kernels. `next()` returns the numbers of one kernel, or null if its quantized version is zero.
  //
  // With rotation, w_b = R^T q(R w_c), and R is a new uniformly random rotation for every kernel. Given w_c and
  // u = R w_c, which has a uniformly random direction, w_b is alpha w_c + e: alpha and |e| follow from u, and e has a
  // uniformly random direction orthogonal to w_c. So R itself is not needed.
  function kernels(seed, d, { variance, scale }, quantizer, rotated) {
    const normal = normals(seed), q = applied(quantizer);
    const latent = new Float64Array(d), turned = new Float64Array(d);

    function latentKernel() {
      let norm2 = 0, inputs = 0;
      for (let i = 0; i < d; i++) {
        const w = scale[i] * normal();
        latent[i] = w;
        norm2 += w * w;
        inputs += variance[i] * w * w;
      }
      return [norm2, inputs];
    }

    function unrotated(norm2, cc) {
      let product = 0, length2 = 0, bc = 0, bb = 0;
      for (let i = 0; i < d; i++) {
        const w = latent[i], b = q(w);
        product += w * b;
        length2 += b * b;
        bc += variance[i] * w * b;
        bb += variance[i] * b * b;
      }
      return numbers(norm2, length2, product / norm2, cc, bc, bb);
    }

    function inRotatedCoordinates(norm2, cc) {
      let own2 = 0;
      for (let i = 0; i < d; i++) {
        const z = (turned[i] = normal());
        own2 += z * z;
      }
      const ratio = Math.sqrt(norm2 / own2);
      let product = 0, length2 = 0;
      for (let i = 0; i < d; i++) {
        const u = ratio * turned[i], b = q(u);
        product += u * b;
        length2 += b * b;
      }
      let along = 0, free2 = 0, vv = 0, vc = 0;
      for (let i = 0; i < d; i++) {
        const v = normal();
        along += v * latent[i];
        free2 += v * v;
        vv += variance[i] * v * v;
        vc += variance[i] * v * latent[i];
      }
      const part = along / norm2, alpha = product / norm2;
      const residual2 = Math.max(length2 - alpha * alpha * norm2, 0);
      const factor = Math.sqrt(residual2 / (free2 - part * along));
      const ec = factor * (vc - part * cc), ee = factor * factor * (vv - 2 * part * vc + part * part * cc);
      return numbers(norm2, length2, alpha, cc, alpha * cc + ec, alpha * alpha * cc + 2 * alpha * ec + ee);
    }

    function numbers(norm2, length2, alpha, cc, bc, bb) {
      if (length2 === 0) return null;
      const cos = Math.min(Math.max((alpha * Math.sqrt(norm2)) / Math.sqrt(length2), -1), 1);
      const theta = Math.acos(cos), gain = cc / norm2;
      const residual2 = length2 - alpha * alpha * norm2;
      const blind = residual2 <= 1e-12 * length2;
      return {
        theta,
        gain,
        residualGain: blind ? NaN : Math.max(bb - 2 * alpha * bc + alpha * alpha * cc, 0) / residual2,
        kappa: blind ? 0 : (bc - alpha * cc) / (alpha * cc),
        r: Math.min(Math.max(bc / Math.sqrt(bb * cc), -1), 1),
        rTwo: blind ? Math.sign(alpha) : geometry.twoNumberR(theta, gain),
        // What the covariances are if the residual is not aligned with the inputs.
        expected: { bc: alpha * cc, bb: alpha * alpha * cc + residual2 },
        alpha, cc, bc, bb,
      };
    }

    return {
      next() {
        const [norm2, inputs] = latentKernel();
        return rotated ? inRotatedCoordinates(norm2, inputs) : unrotated(norm2, inputs);
      },
      // A pair (a.w_b, a.w_c): for normal inputs it is normal with the covariances of the kernel.
      pair({ cc, bc, bb }) {
        const first = normal(), second = normal();
        const c = Math.sqrt(cc) * first;
        return [(bc / Math.sqrt(cc)) * first + Math.sqrt(Math.max(bb - (bc * bc) / cc, 0)) * second, c];
      },
    };
  }

  return { normals, powers, family, expectedCos, kernels };
})();
