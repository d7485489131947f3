// What can be asked of a rollout: buttons with the server's reasons, boxes that say what happens.

import { toast, you } from './app.js';
import { ask, Refused } from './data.js';
import { h, replace } from './dom.js';

const NAMES = { pause: 'Pause', resume: 'Resume', retry: 'Try again', rollback: 'Roll back', promote: 'Promote', 'promote-full': 'Promote to the end', skip: 'Skip the analysis' };

let token = null;
try { token = sessionStorage.getItem('token'); } catch { /* asked for every time */ }

export function actionBar({ at, name, record, stale, load }) {
  const element = h('div', { class: 'actions', role: 'group', 'aria-label': 'What can be asked' });
  let open = false;

  function draw() {
    const here = record();
    if (!here) return;
    const focused = document.activeElement?.dataset?.action;
    const of = (action) => here.actions.find((one) => one.name === action);
    const paused = of('resume').allowed || here.paused;
    const failed = here.state === 'Failed';
    const readOnly = you().readOnly;
    const shown = [of(paused ? 'resume' : 'pause'), of(failed ? 'retry' : 'rollback'), of('promote')];
    const further = [of('promote-full'), of('skip')];
    // Where nothing is under way, or nothing may be done, one sentence says more than grey buttons.
    const idle = !failed && ['Ready', 'Suspended'].includes(here.state);
    if (readOnly || idle) return replace(element, readOnly && !idle ? h('p', { class: 'quiet' }, 'Read-only here. ', h('code', {}, `slipway canary ${failed ? 'retry' : 'rollback'} ${name} -n ${here.ns}`)) : null);
    const menu = h('details', { class: 'menu', open }, h('summary', { 'aria-label': 'More ways to promote' }, '▾'), h('div', {}, further.map(button)));
    menu.addEventListener('toggle', () => { open = menu.open; });
    replace(element, shown.map(button), menu);
    if (focused) element.querySelector(`[data-action="${focused}"]`)?.focus({ preventScroll: true });
  }

  function button(action) {
    const age = stale();
    const why = action.why ?? (age.state !== 'live' ? `state is ${age.seconds}s old` : null);
    const kind = { rollback: 'danger', promote: 'main', resume: 'main', retry: 'main' }[action.name] ?? '';
    return h('button', { type: 'button', class: kind, 'data-action': action.name, 'aria-disabled': why ? 'true' : null, title: why ?? action.confirm,
      onclick: () => (why ? toast(`${NAMES[action.name]} is not possible: ${why}.`, true) : begin(action)) }, NAMES[action.name], why ? h('span', { class: 'hidden' }, `: ${why}`) : null);
  }

  function begin(action) {
    const seen = record().seen;
    if (action.consent === 'none') return send(action, { seen });
    box(action, seen);
  }

  function box(action, seen) {
    const here = record();
    const before = document.activeElement;
    const typed = action.consent === 'name';
    const given = h('input', { type: 'text', id: 'typed', autocomplete: 'off', spellcheck: 'false' });
    const reason = h('input', { type: 'text', id: 'reason', maxlength: 400, autocomplete: 'off' });
    const label = action.name === 'promote' ? `Promote ${here.to ?? ''}` : action.name === 'rollback' ? `Roll back to ${here.from ?? 'the primary'}` : NAMES[action.name];
    const yes = h('button', { type: 'submit', class: action.name === 'rollback' || typed ? 'danger' : 'main' }, label);
    const cancel = h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel');
    const check = () => { yes.disabled = typed && (given.value !== name || !reason.value.trim()); };
    for (const field of [given, reason]) field.addEventListener('input', check);
    const form = h('form', {},
      h('h2', {}, `${NAMES[action.name]}: ${here.ns}/${name}`), h('p', {}, action.confirm),
      h('p', { class: 'quiet' }, `Now ${here.weight.asked}% of traffic, ${here.failed.n} of ${here.failed.of} allowed failed checks.`),
      typed ? [h('label', { for: 'typed' }, `Type ${name} to go on`), given] : null,
      h('label', { for: 'reason' }, typed ? 'Reason' : 'Reason (kept with the request)'), reason,
      h('div', { class: 'buttons' }, cancel, yes));
    const dialog = h('dialog', { 'aria-label': NAMES[action.name] }, form);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (yes.disabled) return;
      yes.disabled = true;
      dialog.close();
      send(action, { seen, reason: reason.value.trim() || null, typedName: typed ? given.value : null });
    });
    dialog.addEventListener('close', () => { dialog.remove(); if (before?.isConnected) before.focus(); else element.querySelector('button')?.focus(); });
    document.body.append(dialog);
    check();
    dialog.showModal();
    (typed ? given : cancel).focus();
  }

  async function send(action, wish, again = crypto.randomUUID?.() ?? String(Math.random())) {
    if (you().needsToken && !token) return withToken(() => send(action, wish, again));
    try {
      const headers = { 'content-type': 'application/json', 'idempotency-key': again };
      if (token) headers.authorization = `Bearer ${token}`;
      await ask(`${at}/actions/${action.name}`, { method: 'POST', headers, body: JSON.stringify(wish) });
      toast(`${NAMES[action.name]}: asked for. The controller obeys with its next look.`);
    } catch (error) {
      if (error instanceof Refused && error.status === 401) {
        forget();
        return withToken(() => send(action, wish, again), error.message);
      }
      toast([error.message, error.hint].filter(Boolean).join(' · '), true);
    }
    load();
  }

  return { element, draw, close: () => {}, focus: () => element.querySelector('button')?.focus() };
}

function forget() {
  token = null;
  try { sessionStorage.removeItem('token'); } catch { /* was not kept */ }
}

function withToken(then, problem) {
  const field = h('input', { type: 'password', id: 'token', autocomplete: 'off' });
  const form = h('form', {}, h('h2', {}, 'Who asks?'), problem ? h('p', { class: 'bad' }, problem) : null,
    h('p', {}, 'Acting here needs a token of yours. It is kept until this tab is closed.'), h('label', { for: 'token' }, 'Token'), field,
    h('div', { class: 'buttons' }, h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'), h('button', { type: 'submit', class: 'main' }, 'Go on')));
  const dialog = h('dialog', { 'aria-label': 'Token' }, form);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    token = field.value.trim();
    try { sessionStorage.setItem('token', token); } catch { /* asked for again after a reload */ }
    dialog.close();
    if (token) then();
  });
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
