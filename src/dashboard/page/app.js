// The frame around every view: paths, header, keys, the age of what is shown.

import { ask, build, stream, url } from './data.js';
import { h, replace } from './dom.js';
import { span, tick } from './words.js';
import { events } from './events.js';
import { image, images } from './images.js';
import { overview } from './overview.js';
import { pastRun, rollout } from './rollout.js';

const main = document.getElementById('main');
const top = document.getElementById('top');
const bar = document.getElementById('bar');

let view = null;
let about = null;

const ROUTES = [
  [/^\/?$/, () => overview()],
  [/^\/e$/, () => events()],
  [/^\/i$/, () => images()],
  [/^\/help$/, () => help()],
  [/^\/i\/([^/]+)\/([^/]+)$/, (ns, name) => image(ns, name)],
  [/^\/r\/([^/]+)\/([^/]+)$/, (ns, name) => rollout(ns, name)],
  [/^\/r\/([^/]+)\/([^/]+)\/runs\/([^/]+)$/, (ns, name, run) => pastRun(ns, name, run)],
];

function path() {
  const base = new URL(document.baseURI).pathname;
  return '/' + location.pathname.slice(base.length);
}

function show() {
  view?.close?.();
  const here = path();
  const found = ROUTES.find(([pattern]) => pattern.test(here));
  const parts = found ? here.match(found[0]).slice(1).map(decodeURIComponent) : [];
  view = found ? found[1](...parts) : missing();
  document.title = `${view.title} · Slipway`;
  replace(main, view.element);
  for (const link of top.querySelectorAll('nav a')) {
    const own = '/' + link.getAttribute('href').replace(/^\.\//, '');
    const isHere = own === '/' ? here === '/' || here.startsWith('/r/') : here.startsWith(own);
    if (isHere) link.setAttribute('aria-current', 'page'); else link.removeAttribute('aria-current');
  }
  stream.open(view.topics ?? 'overview', (kind, data) => {
    if (kind === 'counts') counts(data);
    if (kind === 'hello' && data.build !== build) renewed();
    view.heard?.(kind, data);
  }, () => { refresh(); view.load?.(); });
  view.load?.();
}

function missing() {
  return { title: 'Nothing here', element: h('section', {}, h('h1', {}, 'Nothing here'), h('p', {}, 'This address names no page. ', h('a', { href: './' }, 'All rollouts'))) };
}

export function go(target) {
  history.pushState(null, '', url(target));
  show();
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a');
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (!link.href.startsWith(document.baseURI) || link.target) return;
  event.preventDefault();
  go(link.href);
});
window.addEventListener('popstate', show);
document.getElementById('skip').addEventListener('click', () => main.focus());

// Header.

function header() {
  const search = h('input', { type: 'search', id: 'search', placeholder: 'Search rollouts  /', 'aria-label': 'Search rollouts', autocomplete: 'off', spellcheck: 'false' });
  const form = h('form', { class: 'search', role: 'search' }, search);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    go(`./?q=${encodeURIComponent(search.value)}`);
  });
  search.addEventListener('input', () => { if (path() === '/') view.search?.(search.value); });
  replace(top,
    h('a', { class: 'brand', href: './' }, h('img', { src: 'page/icon.svg', alt: '', width: 22, height: 22 }), 'Slipway'),
    h('span', { id: 'cluster', class: 'cluster', hidden: true }),
    h('nav', { 'aria-label': 'Pages' }, h('a', { href: './' }, 'Rollouts'), h('a', { href: './i' }, 'Images'), h('a', { href: './e' }, 'Events')),
    form,
    h('span', { id: 'counts', class: 'counts' }),
    h('span', { id: 'live', class: 'live' }),
    h('button', { type: 'button', id: 'theme', class: 'plain' }),
    h('a', { href: './help', class: 'plain key', 'aria-label': 'Keys and words' }, '?'));
  document.getElementById('theme').addEventListener('click', nextTheme);
  themeLabel();
}

function counts(all) {
  const part = (state, word, kind) => (all[state] ? h('a', { href: `./?state=${state}`, class: kind }, `${all[state]} ${word}`) : null);
  const moving = (all.progressing ?? 0) + (all.promoting ?? 0);
  const parts = [part('failed', 'failed', 'bad'), part('waiting', 'waiting', 'wait'), part('paused', 'paused', 'hold'),
    moving ? h('a', { href: './?state=progressing,promoting', class: 'link' }, `${moving} moving`) : null].filter(Boolean);
  replace(document.getElementById('counts'), parts.length ? parts : h('span', { class: 'quiet' }, 'all steady'));
}

async function refresh() {
  try {
    about = await ask('overview');
    counts(about.counts);
    const cluster = document.getElementById('cluster');
    cluster.textContent = about.cluster;
    cluster.hidden = !about.cluster;
    view?.about?.(about);
  } catch { /* the badge tells */ }
}

export const you = () => about?.you ?? { readOnly: true };

const THEMES = ['system', 'light', 'dark'];
const theme = () => document.documentElement.dataset.theme ?? 'system';

function nextTheme() {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  if (next === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try { localStorage.setItem('theme', next); } catch { /* not kept */ }
  themeLabel();
}

function themeLabel() {
  const button = document.getElementById('theme');
  const mark = { system: '◐', light: '○', dark: '●' }[theme()];
  button.setAttribute('aria-label', `Theme: ${theme()}`);
  button.title = `Theme: ${theme()}`;
  replace(button, mark);
}

// Age.

let told = '';
function age() {
  const state = stream.state();
  const seconds = Math.floor(stream.age() / 1000);
  const text = state === 'live' ? 'live' : `stale ${span(seconds)}`;
  if (text !== told) {
    const badge = document.getElementById('live');
    badge.className = `live ${state}`;
    replace(badge, h('span', { class: 'dot', 'aria-hidden': 'true' }), text);
    told = text;
    view?.freshness?.(state, seconds);
  }
  bar.hidden = state !== 'lost';
  if (state === 'lost') bar.textContent = `Nothing was heard for ${span(seconds)}. What is shown was true then; it is brought up to date as soon as the server answers.`;
  tick();
}
setInterval(age, 1000);

function renewed() {
  if (document.querySelector('dialog[open]')) return;
  bar.hidden = false;
  replace(bar, 'A new version of this page is there. ', h('button', { type: 'button', onclick: () => location.reload() }, 'Reload'));
}

export function toast(text, isBad) {
  const line = h('p', { class: isBad ? 'toast bad' : 'toast' }, text);
  document.getElementById('toasts').append(line);
  setTimeout(() => line.remove(), isBad ? 15000 : 8000);
}

// Keys.

const keysAreOff = () => { try { return localStorage.getItem('keys') === 'off'; } catch { return false; } };
let before = '';
document.addEventListener('keydown', (event) => {
  const field = event.target.closest('input, textarea, select, dialog');
  if (event.key === 'Escape' && event.target.id === 'search') event.target.blur();
  if (field || event.metaKey || event.ctrlKey || event.altKey || keysAreOff()) return;
  const two = before === 'g' ? { o: './', i: './i', e: './e' }[event.key] : null;
  before = event.key;
  if (two) { event.preventDefault(); return go(two); }
  if (event.key === '/') { event.preventDefault(); document.getElementById('search').focus(); return; }
  if (event.key === '?') return go('./help');
  if (event.key === 'c') { navigator.clipboard?.writeText(location.href).then(() => toast('The address of this page is copied.')); return; }
  if (event.key === 'j' || event.key === 'k') {
    const rows = [...main.querySelectorAll('a.row-link')];
    if (!rows.length) return;
    const place = rows.indexOf(document.activeElement) + (event.key === 'j' ? 1 : -1);
    rows[Math.min(Math.max(place, 0), rows.length - 1)].focus();
    return;
  }
  view?.key?.(event);
});

function help() {
  const keys = [['/', 'search'], ['g o  g i  g e', 'rollouts, images, events'], ['j k  Enter', 'next, previous, open'], ['f  w', 'failed, waiting'],
    ['r', 'sort again'], ['t', 'charts or tables'], ['.', 'what can be asked of this rollout'], ['c', 'copy the address'], ['?', 'this page']];
  const words = [['rollout, run', 'moving one workload to one version; one attempt at it'], ['primary, canary', 'what users get; what is on trial'],
    ['check, limit', 'one verdict of a metric; its bound'], ['gate', 'a stop that waits for somebody or something to approve'],
    ['weight asked, actual', 'share of traffic that is wanted; that the route has in effect'],
    ['Failed', 'the last version was rolled back'], ['Ready', 'users get what was promoted last']];
  const off = h('input', { type: 'checkbox', id: 'keys' });
  off.checked = !keysAreOff();
  off.addEventListener('change', () => { try { localStorage.setItem('keys', off.checked ? 'on' : 'off'); } catch { /* not kept */ } });
  const list = (pairs) => h('dl', { class: 'pairs' }, pairs.map(([term, text]) => [h('dt', {}, term), h('dd', {}, text)]));
  return { title: 'Keys and words', element: h('section', {}, h('h1', {}, 'Keys and words'),
    h('h2', {}, 'Keys'), h('label', { class: 'check' }, off, ' Keys are on'), list(keys), h('h2', {}, 'Words'), list(words)) };
}

header();
refresh();
show();
age();
