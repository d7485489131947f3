// Numbers, times and states in the words that the command line uses.

import { h } from './dom.js';
import { now } from './data.js';

const MARKS = { Failed: '✗', Waiting: '◎', Paused: '‖', Progressing: '▶', Promoting: '▲', Suspended: '–', Ready: '✓' };

export function span(seconds) {
  const total = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes, rest] =
    [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60];
  const two = (big, unit, small, smaller) => (small ? `${big}${unit}${small}${smaller}` : `${big}${unit}`);
  if (days >= 10) return `${days}d`;
  if (days) return two(days, 'd', hours, 'h');
  if (hours) return two(hours, 'h', minutes, 'm');
  if (minutes) return two(minutes, 'm', rest, 's');
  return `${rest}s`;
}

export const seconds = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

export function quantity(value, unit) {
  if (value === null || value === undefined) return '–';
  const size = Math.abs(value);
  const number = (value) => {
    const size = Math.abs(value);
    if (size > 0 && size < 0.01) return String(Number(value.toFixed(4)));
    return String(Number(value.toFixed(size >= 100 || size === 0 ? 0 : 2)));
  };
  if (unit === 'ms' && size >= 1000) return `${number(value / 1000)} s`;
  if (unit === '%' && size < 100 && size > 99.99) return `${value.toFixed(3)} %`;
  return unit ? `${number(value)} ${unit}` : number(value);
}

export function limit(check) {
  const { min, max, unit } = check;
  if (min !== null && max !== null) return `${quantity(min, unit)} to ${quantity(max, unit)}`;
  if (min !== null) return `≥ ${quantity(min, unit)}`;
  if (max !== null) return `≤ ${quantity(max, unit)}`;
  return 'none';
}

export const clock = (time) => new Date(time).toISOString().slice(11, 19);
export const moment = (time) => new Date(time).toISOString().replace('T', ' ').slice(0, 19) + ' UTC';

// Text that says how long ago something was, and goes on doing so.
export function ago(time, suffix = ' ago') {
  if (!time) return h('span', {}, '–');
  return h('time', { datetime: time, title: moment(time), 'data-since': time, 'data-suffix': suffix }, span((now() - Date.parse(time)) / 1000) + suffix);
}

// Text that says how long it still takes.
export function until(time, before, after) {
  return h('span', { 'data-until': time, 'data-before': before, 'data-after': after }, untilText(time, before, after));
}

function untilText(time, before, after) {
  const rest = (Date.parse(time) - now()) / 1000;
  return rest > 0.5 ? `${before} in ${span(rest)}${after}` : `${before} now${after}`;
}

// Keeps all of them true; called once a second.
export function tick() {
  for (const element of document.querySelectorAll('[data-since]')) {
    const text = span((now() - Date.parse(element.dataset.since)) / 1000) + element.dataset.suffix;
    if (element.textContent !== text) element.textContent = text;
  }
  for (const element of document.querySelectorAll('[data-until]')) {
    const { until, before, after } = element.dataset;
    const text = untilText(until, before, after);
    if (element.textContent !== text) element.textContent = text;
  }
}

export function state(name) {
  return h('span', { class: `state ${name.toLowerCase()}` }, h('span', { class: 'mark', 'aria-hidden': 'true' }, MARKS[name] ?? '?'), name);
}

export function versions(row) {
  if (!row.from) return h('span', { class: 'version' }, row.to ?? '–');
  const back = row.state === 'Failed';
  return h('span', { class: 'version' },
    h('span', {}, row.from), h('span', { class: 'quiet', 'aria-label': back ? 'returned from' : 'to' }, back ? ' ← ' : ' → '),
    h('span', { class: back ? 'bad' : 'fresh' }, row.to ?? '–'));
}

export const isMoving = (row) => row.state === 'Progressing' || row.state === 'Promoting';
export const needsPerson = (row) => row.state === 'Failed' || row.state === 'Waiting' || row.state === 'Paused';
