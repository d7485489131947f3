// What happened, newest first, and live.

import { ask } from './data.js';
import { h, replace } from './dom.js';
import { clock, moment } from './words.js';

const LINKS = { Canary: 'r', ImagePolicy: 'i' };

export function eventRow(event, own) {
  const { kind, ns, name } = event.object;
  const text = `${kind.toLowerCase()}/${name}`;
  const page = LINKS[kind];
  const object = page ? h('a', { href: `./${page}/${encodeURIComponent(ns)}/${encodeURIComponent(name)}` }, text) : text;
  return h('li', { class: event.type === 'Warning' ? 'warning' : '' },
    h('time', { datetime: event.at, title: moment(event.at) }, own ? clock(event.at) : moment(event.at).slice(5, 19)),
    h('div', {}, h('p', {}, event.type === 'Warning' ? h('span', { class: 'mark bad', 'aria-label': 'Warning' }, '! ') : null, event.message, event.count > 1 ? h('span', { class: 'quiet' }, ` ×${event.count}`) : null),
      h('p', { class: 'quiet' }, own ? null : [object, ns ? ` in ${ns}` : '', ' · '], event.reason, ' · ', event.isPerson ? h('strong', {}, event.actor) : event.actor)));
}

export function events() {
  const words = new URLSearchParams(location.search);
  const filters = h('div', { class: 'filters', role: 'group', 'aria-label': 'Filters' });
  const list = h('ol', { class: 'events' });
  const more = h('div', {});
  const element = h('section', {}, h('h1', {}, 'Events'), filters, list, more);
  let cursor = null;

  const wanted = (event) => {
    const object = [event.object.kind, event.object.ns, event.object.name].join('/');
    return (!words.get('for') || object.toLowerCase().startsWith(words.get('for').toLowerCase()))
      && (!words.get('type') || event.type === words.get('type'));
  };

  function chips() {
    const chip = (name, value, text) => h('button', { type: 'button', class: 'chip', 'aria-pressed': String(words.get(name) === value), onclick: () => set(name, words.get(name) === value ? '' : value) }, text);
    const about = words.get('for');
    const known = ['Canary', 'ImagePolicy', 'ImageUpdateAutomation', 'Kustomization'];
    replace(filters, chip('type', 'Warning', 'warnings'), known.map((kind) => chip('for', kind, kind)), about && !known.includes(about) ? chip('for', about, `${about} ✕`) : null);
  }

  function set(name, value) {
    if (value) words.set(name, value); else words.delete(name);
    const text = words.toString();
    history.replaceState(null, '', text ? `?${text}` : './e');
    load();
  }

  async function load(next) {
    chips();
    try {
      const query = new URLSearchParams(words);
      if (next && cursor) query.set('cursor', cursor);
      const answer = await ask(`events?${query}`);
      if (!next) replace(list);
      list.append(...answer.items.map((event) => eventRow(event, false)));
      cursor = answer.cursor;
      replace(more, cursor ? h('button', { type: 'button', onclick: () => load(true) }, 'Show older ones') : null,
        answer.total ? null : h('p', { class: 'quiet' }, 'Nothing of that kind has happened.'));
    } catch (error) {
      replace(more, h('p', { class: 'problem' }, error.message));
    }
  }

  return {
    title: 'Events', element, load: () => load(), topics: 'events',
    heard: (kind, data) => { if (kind === 'event' && wanted(data)) { list.prepend(eventRow(data, false)); while (list.children.length > 1000) list.lastChild.remove(); } },
  };
}
