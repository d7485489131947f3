// One metric of one run: canary and primary on one scale, the limit as a tinted zone, the weights as bands behind them.

import { h, svg } from './dom.js';
import { clock, limit, quantity } from './words.js';

const HEIGHT = 210;
const PAD = { left: 58, right: 92, top: 24, bottom: 24 };

// A tidy distance of ticks, about `count` of them.
function distance(range, count) {
  const rough = range / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= rough);
}

function scale(values, check) {
  const bounds = [check.min, check.max].filter((bound) => bound !== null);
  const all = [...values, ...bounds];
  let [low, high] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
  const rate = check.unit === '%';
  if (!rate) low = Math.min(0, low);
  if (rate && low > 95) low = Math.min(low, 98);
  const room = (high - low || Math.abs(high) || 1) * 0.12;
  high = rate ? Math.min(Math.max(high, 100), 100) : high + room;
  if (low !== 0) low = rate ? Math.max(0, low - room) : low - room;
  const step = distance(high - low, 4);
  const first = Math.ceil(low / step - 1e-9) * step;
  const ticks = [];
  for (let tick = first; tick <= high + step * 1e-6; tick += step) ticks.push(Number(tick.toPrecision(12)));
  return { low, high, ticks, cut: low > 0 };
}

export function chart(series, check, width) {
  const samples = series.canary.map(([at, value, verdict]) => ({ at: Date.parse(at), value, verdict }));
  const weights = series.weight.map(([at, weight]) => ({ at: Date.parse(at), weight }));
  const from = Date.parse(series.startedAt);
  // Prometheus gives whole seconds: the first may lie before the run.
  const primary = (series.primary ?? []).map(([at, value]) => ({ at: Math.max(from, Date.parse(at)), value }));
  const last = Math.max(from + 1000, Date.parse(series.endedAt ?? series.now ?? series.startedAt), ...samples.map((sample) => sample.at));
  const narrow = width < 520;
  const pad = narrow ? { ...PAD, left: 50, right: 14 } : PAD;
  const height = narrow ? 170 : HEIGHT;
  const values = [...samples, ...primary].map((sample) => sample.value).filter((value) => value !== null);
  const { low, high, ticks, cut } = scale(values, check);
  const [innerWidth, innerHeight] = [width - pad.left - pad.right, height - pad.top - pad.bottom];
  const x = (at) => pad.left + ((at - from) / (last - from)) * innerWidth;
  const y = (value) => pad.top + (1 - (Math.min(Math.max(value, low), high) - low) / (high - low || 1)) * innerHeight;
  const right = pad.left + innerWidth;
  const bottom = pad.top + innerHeight;

  const parts = [];
  // Bands of weight.
  const steps = weights.filter((step, index) => !index || step.weight !== weights[index - 1].weight);
  let labelled = -100;
  steps.forEach((step, index) => {
    const [a, b] = [x(step.at), index + 1 < steps.length ? x(steps[index + 1].at) : right];
    parts.push(svg('rect', { class: index % 2 ? 'band odd' : 'band', x: a, y: pad.top, width: Math.max(0, b - a), height: innerHeight }));
    if (b - a > 26 && a > labelled) {
      parts.push(svg('text', { class: 'band-label', x: (a + b) / 2, y: pad.top - 7, 'text-anchor': 'middle' }, `${step.weight}%`));
      labelled = a;
    }
  });
  // What is not allowed.
  const zone = (top, end) => { if (end - top > 0.5) parts.push(svg('rect', { class: 'zone', x: pad.left, y: top, width: innerWidth, height: end - top })); };
  if (check.max !== null) zone(pad.top, y(check.max));
  if (check.min !== null) zone(y(check.min), bottom);
  for (const tick of ticks) {
    parts.push(svg('line', { class: 'grid', x1: pad.left, x2: right, y1: y(tick), y2: y(tick) }),
      svg('text', { class: 'tick', x: pad.left - 8, y: y(tick) + 4, 'text-anchor': 'end' }, quantity(tick, check.unit)));
  }
  for (const bound of [check.min, check.max]) {
    if (bound === null || bound < low || bound > high) continue;
    parts.push(svg('line', { class: 'limit', x1: pad.left, x2: right, y1: y(bound), y2: y(bound) }));
  }
  // Times.
  const count = width < 340 ? 2 : narrow ? 3 : 5;
  for (let index = 0; index < count; index += 1) {
    const at = from + ((last - from) * index) / (count - 1);
    const anchor = index === 0 ? 'start' : index === count - 1 ? 'end' : 'middle';
    parts.push(svg('text', { class: 'tick', x: x(at), y: height - 6, 'text-anchor': anchor }, clock(at) + (index === count - 1 ? ' UTC' : '')));
  }
  // Gaps stay gaps.
  const line = (points, name) => {
    let path = '';
    let open = false;
    for (const { at, value } of points) {
      if (value === null) { open = false; continue; }
      path += `${open ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      open = true;
    }
    if (path) parts.push(svg('path', { class: name, d: path }));
  };
  line(primary, 'line primary');
  line(samples, 'line canary');
  for (const { at, value, verdict } of samples) {
    const title = svg('title', {}, `${clock(at)} UTC: ${value === null ? verdict : quantity(value, check.unit)}, ${verdict === 'passed' ? 'passed' : verdict === 'failed' ? 'failed' : 'no data'}`);
    const [cx, cy] = [x(at), value === null ? bottom - 6 : y(value)];
    if (value === null) parts.push(svg('rect', { class: 'point none', x: cx - 4, y: cy - 4, width: 8, height: 8 }, title));
    else if (verdict === 'passed') parts.push(svg('circle', { class: 'point', cx, cy, r: 3.5 }, title));
    else parts.push(svg('path', { class: 'point failed', d: `M${cx} ${cy - 6}l5.5 9.5h-11z` }, title));
  }
  parts.push(...labels({ samples, primary, check, y, right, narrow, low, high, top: pad.top }));
  const text = summary(samples, primary, check);
  return h('figure', { class: 'chart' },
    svg('svg', { viewBox: `0 0 ${width} ${height}`, width: '100%', height, role: 'img', 'aria-label': text }, parts),
    h('figcaption', { class: 'quiet' }, text, cut ? ' · the scale does not begin at 0' : ''));
}

// Names at the end of the lines, kept apart.
function labels({ samples, primary, check, y, right, narrow, low, high, top }) {
  if (narrow) return [];
  const end = (points) => points.findLast((point) => point.value !== null);
  const wanted = [];
  const add = (point, name, text) => { if (point) wanted.push({ y: y(point.value), name, text }); };
  add(end(samples), 'canary', 'canary');
  add(end(primary), 'primary', 'primary');
  for (const [bound, sign] of [[check.min, '≥'], [check.max, '≤']]) {
    if (bound !== null && bound >= low && bound <= high) wanted.push({ y: y(bound), name: 'bound', text: `${sign} ${quantity(bound, check.unit)}` });
  }
  wanted.sort((one, other) => one.y - other.y);
  let below = top - 14;
  return wanted.map((label) => {
    below = Math.max(label.y, below + 14);
    return svg('text', { class: `label ${label.name}`, x: right + 8, y: below + 4 }, label.text);
  });
}

function summary(samples, primary, check) {
  const end = (points) => points.findLast((point) => point.value !== null);
  const failed = samples.filter((sample) => sample.verdict !== 'passed').length;
  const own = end(samples);
  const other = end(primary);
  const parts = [own ? `canary ${quantity(own.value, check.unit)}` : 'no value of the canary'];
  if (other) parts.push(`primary ${quantity(other.value, check.unit)}`);
  parts.push(`limit ${limit(check)}`, `${failed} of ${samples.length} failed`);
  return parts.join(' · ');
}

export function samples(series, check) {
  const rows = [...series.canary].reverse().map(([at, value, verdict]) => h('tr', { class: verdict === 'passed' ? '' : 'failed' },
    h('th', { scope: 'row' }, `${clock(at)} UTC`), h('td', {}, quantity(value, check.unit)),
    h('td', {}, limit(check)), h('td', {}, verdict === 'noData' ? 'no data' : verdict)));
  return h('table', { class: 'plain' }, h('thead', {}, h('tr', {}, ['Time', 'Canary', 'Limit', 'Verdict'].map((title) => h('th', { scope: 'col' }, title)))), h('tbody', {}, rows));
}
