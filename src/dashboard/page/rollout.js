// One rollout: the sentence first, then the way, the measurements, the stops, the past.

import { actionBar } from './actions.js';
import { chart, samples } from './chart.js';
import { ask, named } from './data.js';
import { h, replace, table } from './dom.js';
import { eventRow } from './events.js';
import { ago, clock, isMoving, limit, moment, quantity, seconds, span, state, until, versions } from './words.js';

// A change of the rollout is followed by its samples; several at once are fetched once.
const SOON = 400;
const EVENTS = 30;

export function rollout(ns, name) {
  const at = `rollouts/${named(ns)}/${named(name)}`;
  let record = null;
  let timer = null;
  let due = null;
  let asTable = false;
  let fresh = { state: 'live', seconds: 0 };
  const charts = new Map();

  const head = h('div', {});
  const said = h('p', { class: 'sentence', 'aria-live': 'polite' });
  const reason = h('div', {});
  const facts = h('dl', { class: 'facts' });
  const rail = h('div', {});
  const measured = h('div', { class: 'charts' });
  const checks = h('div', {});
  const gates = h('div', {});
  const runs = h('div', {});
  const happened = h('div', {});
  const bar = actionBar({ at, name, record: () => record, stale: () => fresh, load: () => load() });
  const element = h('article', { class: 'rollout' }, h('div', { class: 'head' }, head, bar.element), said, reason, facts, rail, checks, measured, gates, runs, happened);

  async function load() {
    try {
      put(await ask(at));
      const [past, events] = await Promise.all([ask(`${at}/runs`), ask(`events?for=Canary/${named(ns)}/${named(name)}&limit=${EVENTS}`)]);
      drawRuns(past.items);
      drawEvents(events.items);
      await loadSeries();
    } catch (error) {
      if (record) return;
      replace(head, h('h1', {}, `${ns} / ${name}`));
      replace(said, error.status === 404 ? 'There is no such rollout.' : error.message);
    }
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      try {
        const past = await ask(`${at}/runs`);
        drawRuns(past.items);
        await loadSeries();
      } catch { /* the badge tells */ }
    }, SOON);
  }

  function put(fresh) {
    const before = record;
    record = fresh;
    draw(before);
    bar.draw();
    clearTimeout(due);
    // Checks go on while nothing moves, and nobody tells of those that pass.
    if (isMoving(record) || record.state === 'Waiting') due = setTimeout(() => { if (!document.hidden) load(); }, Math.max(record.interval, 5) * 1000);
  }

  function draw(before) {
    replace(head, h('h1', {}, h('span', { class: 'quiet' }, `${record.ns} / `), record.name), ' ', state(record.state));
    const next = record.nextCheckAt && record.state === 'Progressing' ? [' ', until(record.nextCheckAt, 'Next check', '.')] : [];
    const eta = record.etaAt && !record.reason ? [' ', until(record.etaAt, 'Promotion', ' at the earliest.')] : [];
    if (!before || before.sentence !== record.sentence || before.nextCheckAt !== record.nextCheckAt) {
      said.setAttribute('aria-live', record.state === 'Failed' ? 'assertive' : 'polite');
      replace(said, record.sentence, next, eta);
    }
    replace(reason, reasonCard(record), record.pending ? h('p', { class: 'note' }, `Asked for: ${record.pending.action} by ${record.pending.by}, `, ago(record.pending.at), '. The controller has not obeyed yet.') : null,
      record.waitingFor && !record.sentence.includes(record.waitingFor) && record.state !== 'Waiting' ? h('p', { class: 'note' }, record.waitingFor) : null);
    drawFacts();
    replace(rail, record.steps.length ? stepRail(record) : null);
    drawChecks();
    replace(gates, record.gates.length ? [h('h2', {}, 'Gates'), gateTable(record.gates)] : null);
  }

  function drawFacts() {
    const workload = (one) => [one.image ? h('span', { title: one.image }, short(one.image)) : '–', h('span', { class: one.ready < one.desired ? 'wait' : 'quiet' }, ` ${one.ready}/${one.desired} ready`)];
    const pairs = [['Version', versions(record)]];
    if (record.primary) pairs.push(['Primary', workload(record.primary)]);
    if (record.canary) pairs.push(['Canary', workload(record.canary)]);
    if (isMoving(record) || record.weight.asked) pairs.push(['Traffic', `${record.weight.asked}% asked${record.weight.actual === null ? '' : `, ${record.weight.actual}% actual`}`]);
    pairs.push(['Failed checks', h('span', { class: record.failed.n ? 'bad' : '' }, `${record.failed.n} of ${record.failed.of}`)]);
    if (record.startedAt) pairs.push(['Run', [ago(record.startedAt, record.endedAt ? ' ago' : ''), record.endedAt ? h('span', { class: 'quiet' }, `, took ${span(seconds(record.startedAt, record.endedAt))}`) : null]]);
    pairs.push(['Target', record.target]);
    replace(facts, pairs.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value))));
  }

  function drawChecks() {
    if (!record.checks.length) return replace(checks, h('h2', {}, 'Checks'), h('p', { class: 'quiet' }, 'The Canary has no metrics: pods that are ready are all it asks for.'));
    const open = new Set([...checks.querySelectorAll('details[open]')].map((details) => details.dataset.name));
    const rows = record.checks.map((check) => {
      const bad = check.verdict && check.verdict !== 'passed';
      const verdict = check.verdict === null ? h('span', { class: 'quiet' }, 'not measured yet')
        : h('span', { class: bad ? 'bad' : 'ok' }, check.verdict === 'noData' ? 'no data' : check.verdict);
      return h('tr', {},
        h('th', { scope: 'row' }, h('details', { 'data-name': check.name, open: open.has(check.name) }, h('summary', {}, check.name),
          check.error ? h('p', { class: 'bad' }, check.error) : null,
          check.query ? [h('p', { class: 'quiet' }, `Asked of ${check.source}:`), h('pre', {}, h('code', {}, check.query))] : null)),
        h('td', { 'data-label': 'Canary', class: 'figure' }, quantity(check.canary?.value, check.unit)),
        h('td', { 'data-label': 'Limit', class: 'figure' }, limit(check)),
        h('td', { 'data-label': 'Sampled' }, check.canary ? h('time', { datetime: check.canary.at, title: moment(check.canary.at) }, `${clock(check.canary.at)} UTC`) : '–'),
        h('td', { 'data-label': 'Verdict' }, verdict),
        h('td', { 'data-label': 'Failed' }, check.measured ? `${check.failed} of ${check.measured}` : '–'));
    });
    replace(checks, h('h2', {}, 'Checks'), table('Checks', ['Check', 'Canary', 'Limit', 'Sampled', 'Verdict', 'Failed'], rows));
    checks.querySelector('table').classList.add('cards');
  }

  async function loadSeries() {
    if (!record.runId) return replace(measured);
    const wanted = record.checks.filter((check) => check.measured);
    const all = await Promise.all(wanted.map((check) => ask(`${at}/runs/${record.runId}/series?metric=${named(check.name)}`).catch(() => null)));
    charts.clear();
    wanted.forEach((check, index) => { if (all[index]) charts.set(check.name, [check, all[index]]); });
    drawCharts();
  }

  function drawCharts() {
    const width = Math.max(280, Math.min(1160, measured.clientWidth || element.clientWidth || 900));
    replace(measured, charts.size ? h('div', { class: 'between' }, h('h2', {}, 'Measured'), h('button', { type: 'button', class: 'plain', onclick: turn }, asTable ? 'Charts' : 'Tables')) : null,
      [...charts.values()].map(([check, series]) => h('section', { class: 'panel' }, h('h3', {}, check.name),
        asTable ? samples(series, check) : chart(series, check, width - 34),
        series.primaryProblem ? h('p', { class: 'quiet' }, `No values of the primary: ${series.primaryProblem}`) : null)));
  }

  function turn() { asTable = !asTable; drawCharts(); }

  function drawRuns(items) {
    const rows = items.map((run) => h('tr', {},
      h('th', { scope: 'row' }, h('a', { href: `./r/${named(ns)}/${named(name)}/runs/${run.id}` }, h('time', { datetime: run.startedAt }, moment(run.startedAt)))),
      h('td', { 'data-label': 'Version' }, versions({ from: run.from, to: run.to, state: run.result })),
      h('td', { 'data-label': 'End' }, h('span', { class: run.result === 'Failed' ? 'bad' : run.endedAt ? 'ok' : 'link' }, run.endedAt ? run.result : 'under way')),
      h('td', { 'data-label': 'Took' }, run.endedAt ? span(seconds(run.startedAt, run.endedAt)) : '–'),
      h('td', { 'data-label': 'Reached' }, `${run.reached}%`), h('td', { 'data-label': 'Failed checks' }, run.failed)));
    replace(runs, items.length ? [h('h2', {}, 'Runs'), table('Runs', ['Began', 'Version', 'End', 'Took', 'Reached', 'Failed checks'], rows)] : null);
    runs.querySelector('table')?.classList.add('cards');
  }

  function drawEvents(items) {
    replace(happened, h('div', { class: 'between' }, h('h2', {}, 'Events'), h('a', { href: `./e?for=Canary/${named(ns)}/${named(name)}` }, 'All of them')),
      items.length ? h('ol', { class: 'events' }, items.map((event) => eventRow(event, true))) : h('p', { class: 'quiet' }, 'Nothing has happened yet.'));
  }

  const resized = () => drawCharts();
  window.addEventListener('resize', resized);
  return {
    title: `${ns}/${name}`, element, load, topics: `rollout:${ns}/${name}`,
    close: () => { window.removeEventListener('resize', resized); clearTimeout(timer); clearTimeout(due); bar.close(); },
    about: () => record && bar.draw(),
    freshness: (state, seconds) => { fresh = { state, seconds }; if (record) bar.draw(); },
    key: (event) => { if (event.key === 't') turn(); if (event.key === '.') { event.preventDefault(); bar.focus(); } },
    heard: (kind, data) => {
      if (kind === 'rollout') { put(data); soon(); }
      if (kind === 'gone') replace(said, 'This rollout was deleted.');
      if (kind === 'event' && happened.querySelector('ol')) {
        const list = happened.querySelector('ol');
        list.prepend(eventRow(data, true));
        while (list.children.length > EVENTS) list.lastChild.remove();
      }
    },
  };
}

const short = (image) => image.split('/').pop();

function reasonCard(record) {
  const { reason } = record;
  if (!reason || reason.kind === 'gate') return null;
  const failed = record.state === 'Failed';
  const parts = [];
  if (reason.check) parts.push(['Check', reason.check]);
  if (reason.value !== null) parts.push(['Measured', quantity(reason.value, reason.unit)]);
  if (reason.limit !== null) parts.push(['Limit', `${reason.op === '<=' ? '≤' : '≥'} ${quantity(reason.limit, reason.unit)}`]);
  if (reason.weight !== null) parts.push(['At weight', `${reason.weight}%`]);
  if (reason.sampledAt) parts.push([reason.value === null ? 'When' : 'Sampled', moment(reason.sampledAt)]);
  if (reason.by) parts.push(['By', reason.by]);
  return h('section', { class: failed ? 'reason failed' : 'reason', 'aria-label': 'Why' },
    h('dl', { class: 'facts' }, parts.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value)))));
}

function stepRail(record) {
  const byWeight = record.strategy === 'canary';
  const words = { done: 'passed', now: 'here', next: 'not reached', failed: 'failed here' };
  const items = record.steps.length > 24 ? record.steps.filter((step, index) => index % Math.ceil(record.steps.length / 24) === 0 || step.state === 'now' || step.state === 'failed') : record.steps;
  return h('ol', { class: 'rail', 'aria-label': byWeight ? 'Steps of traffic' : 'Iterations' },
    items.map((step) => h('li', { class: step.state, title: step.at ? `reached ${moment(step.at)}` : null },
      h('span', { class: 'dot', 'aria-hidden': 'true' }), h('span', {}, byWeight ? `${step.weight}%` : step.weight), h('span', { class: 'hidden' }, `, ${words[step.state]}`))),
    h('li', { class: record.state === 'Ready' && record.runId ? 'done' : record.state === 'Promoting' ? 'now' : 'next' }, h('span', { class: 'dot end', 'aria-hidden': 'true' }), h('span', {}, 'promote')));
}

function gateTable(gates) {
  const rows = gates.map((gate) => h('tr', {}, h('th', { scope: 'row' }, gate.name), h('td', {}, gate.type),
    h('td', {}, gate.isWaiting ? [h('span', { class: 'wait' }, 'waiting'), gate.since ? [' for ', ago(gate.since, '')] : null] : h('span', { class: 'quiet' }, 'not waited for'))));
  return table('Gates', ['Gate', 'Asked', 'State'], rows);
}

// One run of the past, at an address that stays.
export function pastRun(ns, name, id) {
  const at = `rollouts/${named(ns)}/${named(name)}`;
  const element = h('article', { class: 'rollout' }, h('h1', {}, h('span', { class: 'quiet' }, `${ns} / `), name));
  async function load() {
    try {
      const [run, record] = await Promise.all([ask(`${at}/runs/${named(id)}`), ask(at)]);
      const metrics = [...new Set(run.ticks.flatMap((tick) => (tick.checks ?? []).map((check) => check.metric)))];
      const all = await Promise.all(metrics.map((metric) => ask(`${at}/runs/${named(id)}/series?metric=${named(metric)}`).catch(() => null)));
      const width = Math.max(280, Math.min(1160, element.clientWidth || 900));
      const panels = metrics.map((metric, index) => {
        const known = record.checks.find((check) => check.name === metric);
        const tick = run.ticks.findLast((tick) => (tick.checks ?? []).some((check) => check.metric === metric));
        const own = tick.checks.find((check) => check.metric === metric);
        const check = { name: metric, unit: known?.unit ?? '', min: own.min ?? null, max: own.max ?? null };
        return all[index] ? h('section', { class: 'panel' }, h('h3', {}, metric), chart(all[index], check, width - 34)) : null;
      });
      const ticks = run.ticks.filter((tick) => tick.events?.length).reverse().map((tick) => h('li', {}, h('time', { datetime: tick.at }, clock(tick.at)),
        h('div', {}, tick.events.map((text) => h('p', {}, text)), h('p', { class: 'quiet' }, `${tick.phase}, ${tick.weight}%, ${tick.failedChecks} failed`))));
      replace(element, h('h1', {}, h('span', { class: 'quiet' }, `${ns} / `), h('a', { href: `./r/${named(ns)}/${named(name)}` }, name)),
        h('p', { class: 'sentence' }, `Run of ${moment(run.startedAt)}: ${run.from ?? '–'} to ${run.to ?? '–'}, `, h('span', { class: run.result === 'Failed' ? 'bad' : 'ok' }, run.endedAt ? run.result : 'under way'),
          run.endedAt ? ` after ${span(seconds(run.startedAt, run.endedAt))}.` : '.'),
        panels.length ? h('h2', {}, 'Measured') : null, panels, h('h2', {}, 'What happened'), h('ol', { class: 'events' }, ticks));
    } catch (error) {
      replace(element, h('h1', {}, `${ns} / ${name}`), h('p', { class: 'sentence' }, error.message, error.hint ? `: ${error.hint}.` : '.'));
    }
  }
  return { title: `${ns}/${name}, a run`, element, load, topics: `rollout:${ns}/${name}` };
}
