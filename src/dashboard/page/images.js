// Images: which tag was chosen, and why not the others.

import { ask, named } from './data.js';
import { h, replace, table } from './dom.js';
import { ago, moment } from './words.js';

export function images() {
  const list = h('div', {});
  const element = h('section', {}, h('h1', {}, 'Images'), list);
  async function load() {
    try {
      const { items } = await ask('images');
      if (!items.length) return replace(list, h('p', { class: 'quiet' }, 'No ImagePolicy is there yet.'));
      const rows = items.map((policy) => h('tr', {},
        h('th', { scope: 'row' }, h('a', { class: 'row-link', href: `./i/${named(policy.ns)}/${named(policy.name)}` }, h('span', { class: 'quiet' }, `${policy.ns}/`), policy.name)),
        h('td', { 'data-label': 'Chosen' }, h('strong', { class: 'version' }, policy.tag ?? 'nothing'), policy.previous ? h('span', { class: 'quiet' }, ` before: ${policy.previous}`) : null),
        h('td', { 'data-label': 'Image' }, policy.image ?? '–'),
        h('td', { class: 'c-said' }, policy.ready === 'False' ? h('span', { class: 'bad' }, policy.sentence) : policy.sentence),
        h('td', { 'data-label': 'Since' }, ago(policy.since, ''))));
      replace(list, table('Images', ['Policy', 'Chosen', 'Image', 'Why', 'Since'], rows));
      list.querySelector('table').classList.add('cards');
    } catch (error) {
      replace(list, h('p', { class: 'problem' }, error.message));
    }
  }
  return {
    title: 'Images', element, load, topics: 'events',
    heard: (kind, event) => { if (kind === 'event' && event.object.kind === 'ImagePolicy') load(); },
  };
}

export function image(ns, name) {
  const words = new URLSearchParams(location.search);
  const at = `images/${named(ns)}/${named(name)}`;
  const said = h('div', {});
  const fate = h('div', { role: 'status' });
  const field = h('input', { type: 'text', id: 'why', value: words.get('tag') ?? '', placeholder: '1.2.3', spellcheck: 'false', autocomplete: 'off' });
  const form = h('form', { class: 'line' }, h('label', { for: 'why' }, 'Why not '), field, h('button', { type: 'submit' }, 'Tell'));
  const rest = h('div', {});
  const element = h('article', {}, said, form, fate, rest);
  let limit = 100;

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const tag = field.value.trim();
    history.replaceState(null, '', tag ? `?tag=${named(tag)}` : location.pathname);
    load();
  });

  async function load() {
    try {
      const policy = await ask(`${at}?limit=${limit}&tag=${named(field.value.trim())}`);
      const { repository } = policy;
      replace(said, h('h1', {}, h('span', { class: 'quiet' }, `${ns} / `), name),
        h('p', { class: 'sentence' }, policy.tag ? [h('strong', { class: 'version' }, policy.tag), ` is chosen: ${policy.summary}`] : `Nothing is chosen: ${policy.summary}`, /[.]$/.test(policy.summary) ? '' : '.'),
        h('dl', { class: 'facts' }, [['Image', policy.image ?? repository.image], ['Rule', policy.rule], ['Before', policy.previous], ['Digest', policy.digest],
          ['Scanned', repository.scannedAt ? [ago(repository.scannedAt), h('span', { class: 'quiet' }, `, ${repository.tagCount} tags`)] : null],
          ['Ready', policy.ready === 'False' ? h('span', { class: 'bad' }, policy.sentence) : null]]
          .filter(([, value]) => value).map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value)))),
        h('ol', { class: 'funnel', 'aria-label': 'How the tag was chosen' }, policy.steps.map((step) => h('li', {},
          h('strong', {}, step.left), h('span', {}, step.name), step.dropped ? h('span', { class: 'quiet', title: step.examples }, `−${step.dropped}: ${step.examples}`) : null))));
      replace(fate, policy.why ? h('p', { class: 'note' }, h('strong', {}, policy.why.tag), policy.why.result === 'chosen' ? ' is the one that was chosen.' : ` was not chosen: ${policy.why.why ?? 'it fits, but another is better'}.`) : null);
      const rows = policy.tags.map((tag, index) => h('tr', {},
        h('td', { class: 'quiet figure' }, tag.result === 'dropped' ? '–' : index + 1),
        h('th', { scope: 'row', class: 'version' }, tag.tag),
        h('td', {}, h('span', { class: { chosen: 'ok', fits: '', dropped: 'quiet' }[tag.result] }, tag.result)),
        h('td', { class: 'c-said' }, tag.why ?? (tag.result === 'chosen' ? policy.summary : '')),
        h('td', {}, tag.seen ? h('time', { datetime: tag.seen, title: moment(tag.seen) }, ago(tag.seen)) : '')));
      replace(rest, h('h2', {}, 'Tags ', h('span', { class: 'quiet' }, policy.total)), table('Tags', ['#', 'Tag', 'Result', 'Why', 'First seen'], rows),
        policy.tags.length < policy.total ? h('button', { type: 'button', onclick: () => { limit = Math.min(1000, limit * 4); load(); } }, 'Show more') : null);
    } catch (error) {
      replace(said, h('h1', {}, `${ns} / ${name}`), h('p', { class: 'sentence' }, error.status === 404 ? 'There is no such image policy.' : error.message));
      form.hidden = true;
    }
  }
  return {
    title: `${ns}/${name}, image`, element, load, topics: 'events',
    heard: (kind, event) => { if (kind === 'event' && event.object.ns === ns && event.object.name === name) load(); },
  };
}
