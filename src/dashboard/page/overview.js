// All rollouts: those first that need a person, then what moves, then the rest.

import { ask } from './data.js';
import { h, replace } from './dom.js';
import { ago, isMoving, needsPerson, state, until, versions } from './words.js';

const PAGE = 200;
const STATES = ['failed', 'waiting', 'paused', 'progressing', 'promoting', 'suspended', 'ready'];
const ORDER = ['Failed', 'Waiting', 'Paused', 'Progressing', 'Promoting', 'Suspended', 'Ready'];

const key = (row) => `${row.ns}/${row.name}`;

function urgency(one, other) {
  const rank = ORDER.indexOf(one.state) - ORDER.indexOf(other.state);
  return rank || Date.parse(other.since ?? 0) - Date.parse(one.since ?? 0) || key(one).localeCompare(key(other));
}

export function overview() {
  const words = new URLSearchParams(location.search);
  const rows = new Map();
  let order = [];
  let cursor = null;
  let total = null;
  let counts = {};
  let problem = null;
  let untold = 0;
  let timer = null;

  const filters = h('div', { class: 'filters', role: 'group', 'aria-label': 'States' });
  const list = h('div', {});
  const note = h('p', { class: 'note', role: 'status', hidden: true });
  const element = h('section', {}, h('h1', { class: 'hidden' }, 'Rollouts'), filters, note, list);

  const chosen = () => (words.get('state') ?? '').split(',').filter(Boolean);
  const wanted = (row) => {
    const text = (words.get('q') ?? '').toLowerCase();
    const states = chosen();
    const found = !text || key(row).includes(text) || [row.from, row.to].some((version) => version?.includes(text));
    return found && (!states.length || states.includes(row.state.toLowerCase()));
  };

  function chips() {
    const here = chosen();
    const chip = (name) => {
      const on = here.includes(name);
      return h('button', { type: 'button', class: 'chip', 'aria-pressed': String(on), onclick: () => choose(name) }, `${counts[name] ?? 0} ${name}`);
    };
    const text = words.get('q');
    replace(filters, STATES.filter((name) => counts[name] || here.includes(name)).map(chip),
      text ? h('button', { type: 'button', class: 'chip', 'aria-pressed': 'true', 'aria-label': `Remove the search ${text}`, onclick: () => search('') }, `“${text}” ✕`) : null);
  }

  function choose(name) {
    const here = new Set(chosen());
    if (!here.delete(name)) here.add(name);
    set('state', [...here].join(','));
  }

  function search(text) { set('q', text); }

  function set(name, value) {
    if (value) words.set(name, value); else words.delete(name);
    const text = words.toString();
    history.replaceState(null, '', text ? `?${text}` : './');
    clearTimeout(timer);
    timer = setTimeout(load, 80);
  }

  async function load(more) {
    try {
      const query = new URLSearchParams(words);
      query.set('limit', PAGE);
      if (more && cursor) query.set('cursor', cursor);
      const [answer, about] = await Promise.all([ask(`rollouts?${query}`), more ? null : ask('overview')]);
      if (!more) rows.clear();
      for (const row of answer.items) rows.set(key(row), row);
      cursor = answer.cursor;
      total = answer;
      if (about) counts = about.counts;
      problem = null;
      sort();
    } catch (error) {
      problem = error;
      draw();
    }
  }

  function sort() {
    order = [...rows.values()].sort(urgency).map(key);
    untold = 0;
    draw();
  }

  // A row never moves under the pointer or the focus.
  const isBusy = () => list.matches(':hover') || list.contains(document.activeElement);

  function changed() {
    const fresh = [...rows.values()].sort(urgency).map(key);
    if (fresh.join() === order.join()) { untold = 0; return draw(); }
    if (!isBusy()) return sort();
    order = [...order.filter((name) => rows.has(name)), ...fresh.filter((name) => !order.includes(name))];
    untold += 1;
    draw();
  }

  function draw() {
    chips();
    note.hidden = !untold;
    if (untold) replace(note, `${untold === 1 ? '1 change' : `${untold} changes`}, press r to sort again `, h('button', { type: 'button', onclick: sort }, 'Sort again'));
    if (problem) return replace(list, h('p', { class: 'problem' }, h('strong', {}, problem.message), problem.hint ? `. ${problem.hint}.` : '.'));
    if (!total) return;
    const all = order.map((name) => rows.get(name)).filter(Boolean);
    if (!all.length) return replace(list, empty());
    const focus = document.activeElement?.dataset?.row;
    const groups = [['Needs a person', all.filter(needsPerson)], ['Moving', all.filter(isMoving)],
      ['Steady', all.filter((row) => !needsPerson(row) && !isMoving(row))]];
    replace(list, groups.filter(([, some]) => some.length).map(([title, some]) => group(title, some)),
      cursor ? h('button', { type: 'button', onclick: () => load(true) }, 'Show more') : null);
    if (focus) list.querySelector(`[data-row="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  }

  function empty() {
    if (total.hidden) {
      return h('div', { class: 'empty' }, h('p', {}, `${total.hidden} ${total.hidden === 1 ? 'rollout is' : 'rollouts are'} hidden by filters.`),
        h('button', { type: 'button', onclick: () => { words.delete('q'); set('state', ''); } }, 'Show all'));
    }
    return h('div', { class: 'empty' }, h('p', {}, 'No Canary is there yet. A rollout appears here as soon as one is applied.'),
      h('p', { class: 'quiet' }, 'Rehearse one first: ', h('code', {}, 'slipway canary simulate -f canary.yaml --scenario s.yaml')));
  }

  return {
    title: 'Rollouts', element, load: () => load(), search, topics: 'overview',
    close: () => clearTimeout(timer),
    key: (event) => {
      if (event.key === 'f') choose('failed');
      else if (event.key === 'w') choose('waiting');
      else if (event.key === 'r') sort();
    },
    heard: (kind, data) => {
      if (kind === 'counts') { counts = data; chips(); }
      if (kind === 'row' && total) {
        if (wanted(data)) rows.set(key(data), data); else rows.delete(key(data));
        changed();
      }
      if (kind === 'gone') { rows.delete(key(data)); changed(); }
    },
  };
}

function group(title, rows) {
  const head = h('tr', {}, ['Rollout', 'State', 'Where it stands', 'Traffic', 'Step', 'Failed', 'Version', 'Since'].map((name) => h('th', { scope: 'col' }, name)));
  return h('section', { class: 'group' },
    h('h2', {}, title, ' ', h('span', { class: 'quiet' }, rows.length)),
    h('table', { class: 'rows' }, h('caption', { class: 'hidden' }, title), h('thead', {}, head), h('tbody', {}, rows.map(line))));
}

function line(row) {
  const link = `./r/${encodeURIComponent(row.ns)}/${encodeURIComponent(row.name)}`;
  const next = row.nextCheckAt && row.state === 'Progressing' ? [' ', until(row.nextCheckAt, 'Next check', '.')] : null;
  return h('tr', { class: row.state.toLowerCase() },
    h('th', { scope: 'row' }, h('a', { class: 'row-link', href: link, 'data-row': key(row) }, h('span', { class: 'quiet' }, `${row.ns}/`), row.name)),
    h('td', { class: 'c-state' }, state(row.state)),
    h('td', { class: 'c-said' }, row.sentence, next),
    h('td', { class: 'c-weight' }, weight(row)),
    h('td', { class: 'c-step', 'data-label': 'Step' }, row.step.of ? `${row.step.n}/${row.step.of}` : '–'),
    h('td', { class: 'c-failed', 'data-label': 'Failed checks' }, h('span', { class: row.failed.n ? 'bad' : '' }, `${row.failed.n}/${row.failed.of}`)),
    h('td', { class: 'c-version' }, versions(row)),
    h('td', { class: 'c-since', 'data-label': 'Since' }, ago(row.since, '')));
}

// Asked weight as a bar; the actual one beside it where it differs.
export function weight(row) {
  const { asked, actual } = row.weight;
  if (!isMoving(row) && !needsPerson(row)) return h('span', { class: 'quiet' }, '–');
  if (row.state === 'Failed') return h('span', { class: 'quiet' }, '0%');
  const fill = h('span', { class: 'fill' });
  fill.style.inlineSize = `${asked}%`;
  const differs = actual !== null && actual !== asked;
  return h('span', { class: 'weight' },
    h('span', { class: 'track', role: 'img', 'aria-label': `${asked}% asked${actual === null ? '' : `, ${actual}% actual`}` }, fill),
    h('span', { class: 'number' }, `${asked}%`), differs ? h('span', { class: 'wait' }, ` (now ${actual}%)`) : null);
}
