// The controls, the figures and the fragment of the address.
(() => {
  const $ = (id) => document.getElementById(id);
  const degrees = (x) => (x * 180) / Math.PI;
  const DEFAULT = { d: 1000, levels: 2, threshold: null, decay: 1, gain: 10, rotation: true, seed: 1, closeup: false,
    network: DATA.networks[0].name };
  const LIMITS = { d: [2, 10000], levels: [2, 16], threshold: [0, 3], decay: [0, 4], gain: [0.1, 100],
    seed: [1, 4294967295] };
  const WHOLE = new Set(["d", "levels", "seed"]);
  const VIEWS = {
    "few dimensions": { d: 3, gain: 1 },
    "many dimensions": { d: 3000, gain: 1 },
    "a trained layer": { d: 1152, gain: 10 },
    "three levels": { levels: 3, gain: 10 },
    "no rotation": { gain: 10, rotation: false },
  };
  const MOVING_MS = 4, RESTING_MS = 12; // of a frame for sampling, while a slider moves and after that
  const CURVES = [26, 37, 45, 60];
  const GAINS = [0.25, 40], GAIN_TICKS = [0.05, 0.1, 0.3, 1, 3, 10, 30, 100, 300]; // the axis is longer if need be
  const EXCEPTION = 0.03; // a layer is named if its r differs by more from the prediction
  const state = { ...DEFAULT };
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  // ---- the state and the address ------------------------------------------------------------------------------------

  function isValid(name, value) {
    const [low, high] = LIMITS[name];
    return Number.isFinite(value) && value >= low && value <= high && (!WHOLE.has(name) || Number.isInteger(value));
  }

  function read(fragment) {
    const found = { ...DEFAULT }, fields = new URLSearchParams(fragment.replace(/^#/, ""));
    for (const name of Object.keys(LIMITS)) {
      const text = fields.get(name);
      if (text !== null && text.trim() !== "" && isValid(name, Number(text))) found[name] = Number(text);
    }
    for (const name of ["rotation", "closeup"]) {
      if (["on", "off"].includes(fields.get(name))) found[name] = fields.get(name) === "on";
    }
    if (DATA.networks.some((network) => network.name === fields.get("network"))) found.network = fields.get("network");
    return found;
  }

  function fragment() {
    const fields = [];
    for (const [name, value] of Object.entries(state)) {
      if (value === DEFAULT[name] || value === null) continue;
      fields.push(`${name}=${typeof value === "boolean" ? (value ? "on" : "off") : encodeURIComponent(value)}`);
    }
    return fields.length ? `#${fields.join("&")}` : "";
  }

  function write() {
    if (location.hash !== fragment()) {
      history.replaceState(null, "", fragment() || location.pathname + location.search);
    }
  }

  function set(changes) {
    Object.assign(state, changes);
    showControls();
    restart();
  }

  // ---- the quantizer, and what the closed forms say ------------------------------------------------------------------

  function bestThreshold(levels) {
    return DATA.quantizers[levels].thresholds.find((t) => t > 0) ?? 0;
  }

  function quantizer() {
    const { thresholds, values } = DATA.quantizers[state.levels];
    if (state.levels === 2 || state.threshold === null) return { thresholds, values };
    const factor = state.threshold / bestThreshold(state.levels);
    return { thresholds: thresholds.map((t) => t * factor), values };
  }

  // The angle of the mean cosine, its spread, and what they are; NaN where the library has no closed form.
  function closedForms(q, family) {
    const equal = state.rotation || Math.abs(family.exponent) < 1e-9;
    const { d } = state;
    if (state.levels === 2) {
      const cos = equal ? geometry.expectedCosSign(d) : sampling.expectedCos(family);
      return { angle: Math.acos(cos), spread: equal ? geometry.stdAngleSign(d) : NaN, kind: "exact" };
    }
    if (!equal) return { angle: NaN, spread: NaN, kind: "none" };
    const own = Math.abs(family.exponent) < 1e-9;
    return { angle: geometry.quantizerAngle(q), spread: own ? geometry.quantizerAngleStd(q, d) : NaN, kind: "limit" };
  }

  // ---- the sample ----------------------------------------------------------------------------------------------------

  const DRAWN = 3000, PAIRS = 10;
  let sample = null;

  function newSample() {
    const q = quantizer(), family = sampling.family(state.d, state.decay, state.gain);
    return {
      q, family,
      theory: closedForms(q, family),
      source: sampling.kernels(state.seed, state.d, family, q, state.rotation),
      wanted: Math.round(Math.min(2000, Math.max(400, 4e6 / state.d))),
      kernels: 0, zero: 0, angles: [], cosines: 0, b: [], c: [],
      sums: { gain: 0, residualGain: 0, residuals: 0, kappa: 0, r: 0, rTwo: 0, flipsTwo: 0, bc: 0, bb: 0, cc: 0 },
      pairs: { n: 0, b: 0, c: 0, bb: 0, bc: 0, cc: 0, flips: 0 },
    };
  }

  function drawSample(s, milliseconds) {
    const end = performance.now() + milliseconds;
    do {
      addKernel(s);
    } while (s.kernels < s.wanted && performance.now() < end);
  }

  function addKernel(s) {
    const k = s.source.next();
    s.kernels += 1;
    if (k === null) { s.zero += 1; return; }
    s.angles.push(k.theta);
    s.cosines += Math.cos(k.theta);
    const t = s.sums;
    t.gain += k.gain; t.kappa += k.kappa; t.r += k.r; t.rTwo += k.rTwo;
    if (!Number.isNaN(k.residualGain)) { t.residualGain += k.residualGain; t.residuals += 1; }
    t.flipsTwo += geometry.expectedSignFlips(k.rTwo);
    t.bc += k.expected.bc; t.bb += k.expected.bb; t.cc += k.cc;
    const p = s.pairs;
    for (let i = 0; i < PAIRS; i++) {
      const [b, c] = s.source.pair(k);
      p.n += 1; p.b += b; p.c += c; p.bb += b * b; p.bc += b * c; p.cc += c * c; p.flips += b * c < 0 ? 1 : 0;
      if (s.b.length < DRAWN && i < 4) { s.b.push(b); s.c.push(c); }
    }
  }

  function numbers(s = sample) {
    const n = s.angles.length, p = s.pairs, t = s.sums;
    const mean = s.angles.reduce((sum, x) => sum + x, 0) / n;
    const spread = Math.sqrt(s.angles.reduce((sum, x) => sum + (x - mean) ** 2, 0) / n);
    const bb = p.bb / p.n - (p.b / p.n) ** 2, bc = p.bc / p.n - (p.b / p.n) * (p.c / p.n);
    const cc = p.cc / p.n - (p.c / p.n) ** 2;
    return {
      done: s.kernels >= s.wanted, kernels: n, zero: s.zero, exponent: s.family.exponent, range: s.family.range,
      sampled: {
        angle: degrees(Math.acos(s.cosines / n)), meanAngle: degrees(mean), spread: degrees(spread),
        gain: t.gain / n, residualGain: t.residualGain / t.residuals, kappa: t.kappa / n, rWithin: t.r / n,
        r: bc / Math.sqrt(bb * cc), slope: bc / bb, flips: p.flips / p.n,
      },
      theory: { angle: degrees(s.theory.angle), spread: degrees(s.theory.spread), kind: s.theory.kind },
      predicted: {
        gain: s.family.gain, residualGain: 1, kappa: 0, rWithin: t.rTwo / n, r: t.bc / Math.sqrt(t.bb * t.cc),
        slope: t.bc / t.bb, flips: t.flipsTwo / n,
      },
    };
  }

  // ---- the figures ---------------------------------------------------------------------------------------------------

  let colors = {};
  function readColors() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "muted", "line", "shade", "paper", "blue", "orange", "gray"]) {
      colors[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  const FONT = "13px ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif";
  const axis = (label, more = {}) => ({
    label, font: FONT, labelFont: FONT, labelSize: 22, labelGap: 0, size: more.side === 3 ? 50 : 34,
    stroke: () => colors.muted, grid: { stroke: () => colors.line, width: 1 }, ticks: { show: false }, ...more,
  });

  function plot(id, options, data) {
    const box = $(id), height = () => (innerWidth < 768 ? 250 : options.height);
    const chart = new uPlot({ width: box.clientWidth, ...options, height: height(), legend: { show: false } }, data, box);
    chart.root.setAttribute("aria-hidden", "true");
    new ResizeObserver(() => {
      const width = box.clientWidth;
      if (width && width !== chart.width) chart.setSize({ width, height: height() });
    }).observe(box);
    return chart;
  }

  const ratio = () => devicePixelRatio || 1;
  let charts = null;

  function makeCharts() {
    const limits = { angle: [0, 120], density: [0, 1], b: [-1, 1], c: [-1, 1], gain: GAINS, r: [0, 1] };
    const angle = plot("angle-plot", {
      height: 300, padding: [12, 12, 0, 0], cursor: { show: false },
      scales: { x: { time: false, range: () => limits.angle }, y: { range: () => limits.density } },
      axes: [axis("angle (degrees)"), axis("density per degree", { side: 3, size: 54 })],
      series: [{}, { stroke: () => colors.orange, width: 2, points: { show: false } },
        { stroke: () => colors.gray, width: 1.5, points: { show: false } }],
      hooks: { drawAxes: [drawHistogram], draw: [drawMean] },
    }, [[0, 1], [0, 0], [0, 0]]);
    const cloud = plot("cloud-plot", {
      height: 340, padding: [8, 12, 0, 0], cursor: { show: false },
      scales: { x: { time: false, range: () => limits.b }, y: { range: () => limits.c } },
      axes: [axis("a·w_b, quantized"), axis("a·w_c, latent", { side: 3, size: 54 })],
      series: [{}, { stroke: "transparent", points: { show: false } }],
      hooks: { drawClear: [shadeFlips], draw: [drawCloud] },
    }, [[0, 1], [0, 0]]);
    const gains = Array.from({ length: 241 }, (_, i) => 10 ** (-1.5 + i / 60)); // 0.03 to 300
    const gain = plot("gain-plot", {
      height: 360, padding: [8, 12, 0, 0], cursor: { show: false },
      scales: { x: { time: false, distr: 3, range: () => limits.gain }, y: { range: () => limits.r } },
      axes: [axis("gain g", { filter: (u, at) => at,
        values: (u, at) => at.map((x) => (GAIN_TICKS.includes(Number(x.toPrecision(6))) ? String(Number(x.toPrecision(6))) : "")) }),
        axis("r within units", { side: 3, size: 46 })],
      series: [{}, ...CURVES.map(() => ({ stroke: () => colors.gray, width: 1, points: { show: false } })),
        { stroke: () => colors.orange, width: 2, points: { show: false } }],
      hooks: { draw: [labelCurves, drawLayers] },
    }, [gains, ...CURVES.map((t) => gains.map((g) => geometry.twoNumberR((t * Math.PI) / 180, g))), gains.map(() => 0)]);
    return { limits, angle, cloud, gain, gains };
  }

  function clipped(u, draw) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    draw(ctx, (x) => u.valToPos(x, "x", true), (y) => u.valToPos(y, "y", true));
    ctx.restore();
  }

  function histogram(s) {
    const x = s.angles.map(degrees), n = x.length;
    if (!n) return { width: 1, bins: new Map(), top: 0 };
    const mean = x.reduce((a, b) => a + b, 0) / n, spread = Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / n);
    const [low, high] = charts.limits.angle;
    const width = Math.min(3, Math.max(spread / 3, (high - low) / 300)), bins = new Map();
    for (const value of x) bins.set(Math.floor(value / width), (bins.get(Math.floor(value / width)) ?? 0) + 1);
    return { width, bins, top: Math.max(...bins.values()) / (n * width), n };
  }

  function drawHistogram(u) {
    if (!sample) return;
    const { width, bins, n } = sample.histogram;
    clipped(u, (ctx, px, py) => {
      ctx.fillStyle = colors.blue;
      ctx.globalAlpha = 0.55;
      for (const [bin, count] of bins) {
        const left = px(bin * width), top = py(count / (n * width));
        ctx.fillRect(left, top, Math.max(px((bin + 1) * width) - left - 0.5, 1), py(0) - top);
      }
    });
  }

  function drawMean(u) {
    if (!sample || Number.isNaN(sample.theory.angle)) return;
    clipped(u, (ctx, px) => {
      ctx.strokeStyle = colors.orange;
      ctx.lineWidth = 1.5 * ratio();
      ctx.setLineDash([5 * ratio(), 4 * ratio()]);
      ctx.beginPath();
      ctx.moveTo(px(degrees(sample.theory.angle)), u.bbox.top);
      ctx.lineTo(px(degrees(sample.theory.angle)), u.bbox.top + u.bbox.height);
      ctx.stroke();
    });
  }

  function shadeFlips(u) {
    clipped(u, (ctx, px, py) => {
      ctx.fillStyle = colors.shade;
      const x = px(0), y = py(0), { left, top, width, height } = u.bbox;
      ctx.fillRect(left, top, x - left, y - top);
      ctx.fillRect(x, y, left + width - x, top + height - y);
    });
  }

  function drawCloud(u) {
    if (!sample) return;
    const found = sample.numbers;
    clipped(u, (ctx, px, py) => {
      const size = 2.2 * ratio();
      ctx.fillStyle = colors.blue;
      ctx.globalAlpha = 0.45;
      for (let i = 0; i < sample.b.length; i++) {
        ctx.fillRect(px(sample.b[i]) - size / 2, py(sample.c[i]) - size / 2, size, size);
      }
      ctx.globalAlpha = 1;
      const [low, high] = charts.limits.b;
      for (const [slope, color, dash] of [[found.sampled.slope, colors.blue, []],
        [found.predicted.slope, colors.orange, [7, 5]]]) {
        ctx.strokeStyle = color;
        ctx.lineWidth = 2 * ratio();
        ctx.setLineDash(dash.map((x) => x * ratio()));
        ctx.beginPath();
        ctx.moveTo(px(low), py(low * slope));
        ctx.lineTo(px(high), py(high * slope));
        ctx.stroke();
      }
    });
  }

  function labelCurves(u) {
    clipped(u, (ctx, px, py) => {
      ctx.fillStyle = colors.muted;
      ctx.font = `${12 * ratio()}px ui-sans-serif, system-ui, sans-serif`;
      ctx.textBaseline = "bottom";
      ctx.textAlign = "left";
      const g = charts.limits.gain[0] * 1.03;
      for (const angle of CURVES) {
        ctx.fillText(`${angle}°`, px(g), py(geometry.twoNumberR((angle * Math.PI) / 180, g)) - 4 * ratio());
      }
    });
  }

  function layerPoints() {
    return DATA.networks.flatMap((network) => network.layers.map((layer) => ({ network, layer })));
  }

  function drawLayers(u) {
    const points = layerPoints(), chosen = (point) => point.network.name === state.network;
    clipped(u, (ctx, px, py) => {
      for (const own of [false, true]) {
        ctx.fillStyle = own ? colors.blue : colors.gray;
        ctx.globalAlpha = own ? 1 : 0.45;
        for (const point of points.filter((p) => chosen(p) === own)) {
          ctx.beginPath();
          ctx.arc(px(point.layer.gain), py(point.layer.r), (own ? 4.5 : 3.2) * ratio(), 0, 2 * Math.PI);
          ctx.fill();
        }
      }
      ctx.globalAlpha = 1;
      ctx.fillStyle = colors.ink;
      ctx.font = `${12.5 * ratio()}px ui-sans-serif, system-ui, sans-serif`;
      ctx.textBaseline = "middle";
      ctx.textAlign = "left";
      for (const { layer } of points.filter(chosen)) {
        if (Math.abs(layer.r - layer.predicted) > EXCEPTION) {
          ctx.fillText(layer.name, px(layer.gain) + 9 * ratio(), py(layer.r));
        }
      }
      if (!sample) return;
      const { gain, rWithin } = sample.numbers.sampled, x = px(gain), y = py(rWithin);
      ctx.strokeStyle = colors.orange;
      ctx.lineWidth = 2.5 * ratio();
      ctx.fillStyle = colors.paper;
      ctx.beginPath();
      ctx.arc(x, y, 6.5 * ratio(), 0, 2 * Math.PI);
      ctx.fill();
      ctx.stroke();
    });
  }

  function normal(x, mean, spread) {
    return Math.exp(-0.5 * ((x - mean) / spread) ** 2) / (spread * Math.sqrt(2 * Math.PI));
  }

  function drawFigures() {
    const s = sample, found = (s.numbers = numbers(s)), { limits } = charts;
    const centre = Number.isNaN(found.theory.angle) ? found.sampled.meanAngle : found.theory.angle;
    const known = Number.isNaN(found.theory.spread) ? found.sampled.spread : found.theory.spread;
    const half = Math.max(6 * known, 0.5);
    limits.angle = state.closeup && Number.isFinite(half) ? [Math.max(centre - half, 0), centre + half] : [0, 120];
    s.histogram = histogram(s);
    const [low, high] = limits.angle;
    const grid = Array.from({ length: 601 }, (_, i) => low + ((high - low) * i) / 600);
    const curve = state.d >= 10 && !Number.isNaN(found.theory.spread);
    const narrow = 3 * found.theory.spread < (high - low) / 60; // a peak that the grid would miss
    const x = curve && narrow ? withPeak(grid, found.theory) : grid;
    const theory = x.map((t) => (curve ? normal(t, found.theory.angle, found.theory.spread) : 0));
    const pairs = x.map((t) => (geometry.directionAngleDensity((t * Math.PI) / 180, state.d) * Math.PI) / 180);
    const top = Math.max(s.histogram.top, ...theory, ...pairs);
    limits.density = [0, 1.08 * top];
    charts.angle.setData([x, ...[theory, pairs].map((line) => line.map((y) => (y > 2e-3 * top ? y : null)))]);

    const { bb, cc } = s.sums, n = s.angles.length || 1;
    const reach = [3.4 * Math.sqrt(bb / n) || 1, 3.4 * Math.sqrt(cc / n) || 1];
    limits.b = [-reach[0], reach[0]];
    limits.c = [-reach[1], reach[1]];
    charts.cloud.setData([[-1, 1], [0, 0]]);

    const { gain, rWithin } = found.sampled;
    limits.gain = gain > 0 ? [Math.min(GAINS[0], gain / 1.3), Math.max(GAINS[1], gain * 1.3)] : GAINS;
    limits.r = [Math.min(0.3, rWithin - 0.05 || 0.3), 1.02];
    const angle = (found.sampled.meanAngle * Math.PI) / 180;
    const data = [...charts.gain.data];
    data[data.length - 1] = charts.gains.map((g) => geometry.twoNumberR(angle, g));
    charts.gain.setData(data);
    showNumbers(found);
  }

  function withPeak(grid, { angle, spread }) {
    const near = Array.from({ length: 81 }, (_, i) => angle + (i - 40) * 0.1 * spread);
    return [...grid, ...near].filter((x) => x >= grid[0] && x <= grid[grid.length - 1]).sort((a, b) => a - b);
  }

  // ---- the numbers and the texts -------------------------------------------------------------------------------------

  const fixed = (x, decimals = 3) => 
    (Number.isFinite(x) ? x.toFixed(decimals).replace(/^-(?=0\.?0*$)/, "").replace("-", "−") : "–");
  const percent = (x) => (Number.isFinite(x) ? `${(100 * x).toFixed(1)} %` : "–");
  const significant = (x) => String(Number(x.toPrecision(3)));

  function fill(id, rows) {
    const body = $(id).tBodies[0];
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach(([name, ...cells], i) => {
      let row = body.rows[i];
      if (!row) {
        row = body.insertRow();
        const head = document.createElement("th");
        head.scope = "row";
        row.append(head, ...cells.map(() => document.createElement("td")));
      }
      [name, ...cells].forEach((text, j) => {
        if (row.cells[j].textContent !== text) row.cells[j].textContent = text;
      });
    });
  }

  function showNumbers({ sampled, theory, predicted }) {
    fill("angle-numbers", [
      ["angle of the mean cosine", `${fixed(sampled.angle, 2)}°`,
        Number.isNaN(theory.angle) ? "no closed form"
          : `${fixed(theory.angle, 2)}°${theory.kind === "limit" ? " (limit of large d)" : ""}`],
      ["spread of the angle", `${fixed(sampled.spread, 2)}°`,
        Number.isNaN(theory.spread) ? "no closed form" : `${fixed(theory.spread, 2)}° (leading order)`],
    ]);
    fill("cloud-numbers", [
      ["r, all dot products", fixed(sampled.r), fixed(predicted.r)],
      ["r within kernels, mean", fixed(sampled.rWithin), fixed(predicted.rWithin)],
      ["slope", fixed(sampled.slope), fixed(predicted.slope)],
      ["signs that flip", percent(sampled.flips), percent(predicted.flips)],
      ["gain g, mean", fixed(sampled.gain, 2), `${significant(predicted.gain)} (set)`],
      ["residual gain, mean", fixed(sampled.residualGain, 2), "1"],
      ["κ, mean", fixed(sampled.kappa), "0"],
    ]);
    $("cloud-numbers").tBodies[0].rows[1].className = "strong";
    showTexts({ sampled, theory, predicted });
  }

  function setText(id, text) {
    if ($(id).textContent !== text) $(id).textContent = text;
  }

  const gainsOfHidden = DATA.networks.flatMap(({ layers }) => layers.filter((layer) => layer.hidden).map(({ gain }) => gain));
  const hidden = [Math.floor(Math.min(...gainsOfHidden)), Math.ceil(Math.max(...gainsOfHidden))];

  function showTexts({ sampled, predicted }) {
    const { d } = state, apart = Math.abs(sampled.rWithin - predicted.rWithin) > EXCEPTION;
    const angle = `${fixed(sampled.meanAngle, 1)}° ± ${fixed(sampled.spread, 1)}°`;
    setText("angle-text", !state.rotation && sampled.gain > 1.5
      ? `A few coordinates hold most of the kernel's length, so quantizing it turns it far: ${angle}.`
      : d < 30
        ? `In ${d} dimensions the angle is ${angle}; with more, all vectors come to nearly the same angle.`
        : `In ${d.toLocaleString("en")} dimensions nearly all kernels turn by the same angle, ${angle}; two random `
          + "vectors are near 90°.");
    setText("cloud-text", apart
      ? `Here angle and gain do not give r: the rounding error is aligned with the inputs (residual gain `
        + `${fixed(sampled.residualGain, 1)}, κ ${fixed(sampled.kappa, 2)}).`
      : `The angle of ${fixed(sampled.meanAngle, 0)}° and a gain of ${significant(sampled.gain)} leave r = `
        + `${fixed(sampled.rWithin)}; the formula predicts ${fixed(predicted.rWithin)}. ${percent(sampled.flips)} of the signs flip.`);
    setText("gain-text", "The more a kernel is aligned with its inputs, the larger g is, and the less its angle matters: "
      + `the trained hidden layers have gains of ${hidden[0]} to ${hidden[1]}, which leave r near 0.9 or more even at 45°.`);
    const label = {
      "angle-plot": `Histogram of ${sample.angles.length} sampled angles: mean ${angle}. Density of the angle of two `
        + "random vectors, with its maximum at 90°.",
      "cloud-plot": `Cloud of sampled dot products: r ${fixed(sampled.r)}, slope ${fixed(sampled.slope)}, `
        + `${percent(sampled.flips)} of the signs flip.`,
      "gain-plot": `r against gain, one curve for each angle. Here: gain ${fixed(sampled.gain, 2)}, r `
        + `${fixed(sampled.rWithin)}. Points: layers of ${DATA.networks.length} networks; the table below lists them.`,
    };
    for (const [id, text] of Object.entries(label)) $(id).setAttribute("aria-label", text);
  }

  function announce({ sampled, predicted }) {
    $("status").textContent = `Angle ${fixed(sampled.meanAngle, 1)} degrees. r ${fixed(sampled.rWithin)}; angle and `
      + `gain predict ${fixed(predicted.rWithin)}. ${percent(sampled.flips)} of the signs flip.`;
  }

  function python() {
    const { thresholds, values } = quantizer(), { exponent } = sample.family, list = (x) => `[${x.join(", ")}]`;
    const quantized = state.rotation
      ? ["rotation = geometry.Rotation(d, rng)", "quantized = rotation.undo(quantizer(rotation.apply(latent)))"]
      : ["quantized = quantizer(latent)"];
    return [
      "import numpy as np", "from bnn import geometry", "",
      `d, units, rng = ${state.d}, ${state.d > 2000 ? 200 : 1000}, np.random.default_rng(${state.seed})`,
      "i = np.arange(1, d + 1.0)",
      `variance = i ** -${state.decay}  # of the inputs`,
      `scale = np.sqrt((i / d) ** ${-exponent})  # of the weights`,
      "variance, scale = variance / variance.mean(), scale / np.sqrt(np.mean(scale**2))",
      `quantizer = geometry.step_quantizer(${list(thresholds)}, ${list(values)})`, "",
      "latent = scale[:, None] * rng.standard_normal((d, units))", ...quantized,
      "theta = geometry.angle(quantized, latent, axis=0)",
      "gain = variance @ latent**2 / np.sum(latent**2, axis=0)",
      "bb, bc, cc = (variance @ pair for pair in (quantized**2, quantized * latent, latent**2))",
      "print('angle of the mean cosine', np.degrees(np.arccos(np.nanmean(np.cos(theta)))))",
      "print('gain', gain.mean(), 'r', np.nanmean(bc / np.sqrt(bb * cc)))",
      "print('r from angle and gain', np.nanmean(geometry.two_number_r(theta, gain)))",
    ].join("\n");
  }

  // ---- frames --------------------------------------------------------------------------------------------------------

  let dirty = false, running = false, frames = 0, settled = 0;

  function restart() {
    dirty = true;
    if (!running) {
      running = true;
      requestAnimationFrame(frame);
    }
  }

  function frame() {
    frames += 1;
    const first = dirty;
    if (dirty) {
      dirty = false;
      sample = newSample();
      showHints();
    }
    drawSample(sample, first ? MOVING_MS : RESTING_MS);
    const done = sample.kernels >= sample.wanted;
    if (first || done || !still.matches) drawFigures();
    if (done && !dirty) {
      running = false;
      settle();
    } else requestAnimationFrame(frame);
  }

  // What needs to be right only when the sliders rest: the address, the code and what screen readers say.
  function settle() {
    clearTimeout(settled);
    settled = setTimeout(() => {
      write();
      $("python").textContent = python();
      announce(sample.numbers);
    }, 250);
  }

  // ---- the controls --------------------------------------------------------------------------------------------------

  const unique = (values) => [...new Set(values)];
  const steps = (count, at) => unique(Array.from({ length: count + 1 }, (_, i) => at(i)));
  const SCALES = {
    d: steps(240, (i) => Math.round(2 * 5000 ** (i / 240))),
    gain: steps(150, (i) => Number((10 ** (-1 + i / 50)).toPrecision(3))),
    levels: steps(14, (i) => 2 + i),
    threshold: steps(300, (i) => i / 100),
    decay: steps(80, (i) => i / 20),
  };

  function nearest(values, x) {
    let best = 0;
    values.forEach((value, i) => { if (Math.abs(value - x) < Math.abs(values[best] - x)) best = i; });
    return best;
  }

  function shown(name) {
    if (name === "threshold") return state.levels === 2 ? 0 : state.threshold ?? bestThreshold(state.levels);
    return state[name];
  }

  function showControls() {
    for (const name of Object.keys(SCALES)) {
      const value = shown(name), text = name === "threshold" ? String(Number(value.toFixed(4))) : String(value);
      if (document.activeElement !== $(name) || Number($(name).value) !== Number(text)) $(name).value = text;
      $(name).removeAttribute("aria-invalid");
      $(`${name}-range`).value = nearest(SCALES[name], value);
      $(`${name}-range`).setAttribute("aria-valuetext", value.toLocaleString("en", { maximumFractionDigits: 3 }));
    }
    $("rotation").checked = state.rotation;
    $("closeup").checked = state.closeup;
    $("network").value = state.network;
    const two = state.levels === 2;
    for (const id of ["threshold", "threshold-range"]) $(id).disabled = two;
    $("best").disabled = two || state.threshold === null;
    showLayers();
  }

  function showHints() {
    const [low, high] = sample.family.range;
    const say = (id, text) => setText(`${id}-hint`, text);
    say("gain", state.decay === 0 ? "equal variances: every gain is 1"
      : state.gain > high * 1.0001 ? `at most ${significant(high)} with this d and decay`
        : state.gain < low * 0.9999 ? `at least ${significant(low)} with this d and decay`
          : "alignment with the inputs");
    say("levels", { 2: "the sign: −1, +1", 3: "ternary: −1, 0, +1" }[state.levels] ?? `${state.levels} values`);
    say("threshold", state.levels === 2 ? "none: the sign has no zero"
      : `in σ${state.threshold === null ? ", the best" : ""}`
        + (state.levels === 3 ? `: ${percent(geometry.ternaryZeros(shown("threshold")))} zeros` : ""));
    say("rotation", state.rotation ? "on: quantize R w, then rotate back" : "off: quantize w itself");
  }

  function showLayers() {
    const body = $("layers").tBodies[0], network = DATA.networks.find(({ name }) => name === state.network);
    if (body.dataset.network === network.name) return;
    body.dataset.network = network.name;
    body.replaceChildren(...network.layers.map((layer) => {
      const row = document.createElement("tr"), head = document.createElement("th");
      head.scope = "row";
      head.textContent = layer.name;
      const cells = [layer.d.toLocaleString("en"), `${fixed(layer.angle, 1)}°`, fixed(layer.gain, 1), fixed(layer.r),
        fixed(layer.predicted)].map((text) => {
        const cell = document.createElement("td");
        cell.textContent = text;
        return cell;
      });
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "try";
      button.setAttribute("aria-label", `Use the dimension and the gain of ${layer.name}`);
      button.onclick = () => set({ d: layer.d, gain: Number(layer.gain.toPrecision(3)), levels: network.levels,
        threshold: null, rotation: true });
      const last = document.createElement("td");
      last.append(button);
      row.append(head, ...cells, last);
      return row;
    }));
  }

  function changed(name, value) {
    return name === "levels" ? { levels: value, threshold: null } : { [name]: value };
  }

  function makeControls() {
    for (const [name, values] of Object.entries(SCALES)) {
      const range = $(`${name}-range`), number = $(name);
      Object.assign(range, { min: 0, max: values.length - 1, step: 1 });
      range.addEventListener("input", () => set(changed(name, values[Number(range.value)])));
      number.addEventListener("input", () => {
        const value = Number(number.value), valid = number.value !== "" && isValid(name, value);
        if (valid) set(changed(name, value));
        else number.setAttribute("aria-invalid", "true");
      });
      number.addEventListener("blur", showControls);
    }
    $("controls").addEventListener("submit", (event) => event.preventDefault());
    $("rotation").addEventListener("change", () => set({ rotation: $("rotation").checked }));
    $("closeup").addEventListener("change", () => set({ closeup: $("closeup").checked }));
    $("best").addEventListener("click", () => set({ threshold: null }));
    $("again").addEventListener("click", () => set({ seed: (state.seed % LIMITS.seed[1]) + 1 }));
    $("reset").addEventListener("click", () => set({ ...DEFAULT }));
    $("share").addEventListener("click", () => { write(); copy($("share"), location.href); });
    $("copy-python").addEventListener("click", () => copy($("copy-python"), $("python").textContent));
    for (const network of DATA.networks) {
      const seeds = network.seeds > 1 ? ` (${network.seeds} seeds)` : "";
      $("network").append(new Option(network.name + seeds, network.name));
    }
    $("network").addEventListener("change", () => set({ network: $("network").value }));
    const start = document.createElement("span");
    start.textContent = "Start from";
    $("views").append(start, ...Object.entries(VIEWS).map(([name, view]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.onclick = () => set({ ...DEFAULT, network: state.network, ...view });
      return button;
    }));
  }

  async function copy(button, text) {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea"); // pages opened from disk may have no clipboard
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 1200);
  }

  function showTip(event) {
    const over = charts.gain.over.getBoundingClientRect(), tip = $("tip");
    const x = event.clientX - over.left, y = event.clientY - over.top;
    let found = null, best = 14;
    for (const point of layerPoints()) {
      const distance = Math.hypot(charts.gain.valToPos(point.layer.gain, "x") - x,
        charts.gain.valToPos(point.layer.r, "y") - y);
      if (distance < best) [best, found] = [distance, point];
    }
    tip.classList.toggle("shown", found !== null);
    if (!found) return;
    const { layer, network } = found;
    tip.textContent = `${layer.name} of ${network.name}\nd ${layer.d.toLocaleString("en")}, angle ${fixed(layer.angle, 1)}°, `
      + `gain ${fixed(layer.gain, 1)}\nr ${fixed(layer.r)}, predicted ${fixed(layer.predicted)}`;
    const figure = tip.parentElement.getBoundingClientRect();
    const left = Math.min(event.clientX - figure.left + 14, figure.width - tip.offsetWidth);
    tip.style.transform = `translate(${Math.max(left, 0)}px, ${event.clientY - figure.top + 14}px)`;
  }

  // ---- start ---------------------------------------------------------------------------------------------------------

  Object.assign(state, read(location.hash));
  readColors();
  makeControls();
  showControls();
  charts = makeCharts();
  charts.gain.over.addEventListener("pointermove", showTip);
  charts.gain.over.addEventListener("pointerleave", () => $("tip").classList.remove("shown"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); restart(); });
  addEventListener("hashchange", () => { if (location.hash !== fragment()) set(read(location.hash)); });
  restart();
  // For tests, and for those who like the console.
  window.explore = { state, set, numbers: () => (dirty || !sample ? { done: false } : numbers()), quantizer,
    frames: () => frames, geometry, sampling };
})();
