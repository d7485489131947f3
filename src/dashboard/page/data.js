// What the server says: single answers, and the one stream of changes with its age.

const root = document.baseURI;
document.querySelector('base').href = root;

// Server time minus ours.
let skew = 0;
export const now = () => Date.now() + skew;
const learn = (answer) => { if (answer?.now) skew = Date.parse(answer.now) - Date.now(); };

export const url = (path) => new URL(path, root);
export const build = document.querySelector('meta[name=build]').content;

export class Refused extends Error {
  constructor(status, body) {
    super(body?.error ?? `the server answered ${status}`);
    this.status = status;
    this.because = body?.because ?? [];
    this.hint = body?.hint ?? null;
  }
}

export async function ask(path, options) {
  const response = await fetch(url(`api/v1/${path}`), { cache: 'no-store', ...options });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, body);
  learn(body);
  return body;
}

export const named = (text) => encodeURIComponent(text);

const STALE = 15000;
const LOST = 60000;
const HIDDEN = 300000;

// One stream at a time. Calls `heard(kind, data)`; `resync` where what was missed is unknown.
class Stream {
  source = null;
  last = Date.now();
  topics = '';
  heard = () => {};
  resync = () => {};
  hiddenSince = null;

  open(topics, heard, resync) {
    Object.assign(this, { topics, heard, resync });
    this.connect();
  }

  connect() {
    this.close();
    const source = new EventSource(url(`api/v1/stream?topics=${encodeURIComponent(this.topics)}`));
    this.source = source;
    for (const kind of ['hello', 'row', 'gone', 'event', 'counts', 'rollout', 'reset', 'ping']) {
      source.addEventListener(kind, (message) => {
        if (this.source !== source) return;
        this.last = Date.now();
        const data = JSON.parse(message.data);
        if (kind === 'hello' || kind === 'ping') learn(data);
        if (kind === 'reset') this.resync();
        this.heard(kind, data);
      });
    }
    // The browser gives up after some errors; we do not.
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED && this.source === source) {
        setTimeout(() => { if (this.source === source) { this.connect(); this.resync(); } }, 3000);
      }
    };
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  age() {
    return Date.now() - this.last;
  }

  state() {
    const age = this.age();
    return age < STALE ? 'live' : age < LOST ? 'stale' : 'lost';
  }

  wake() {
    const away = this.hiddenSince ? Date.now() - this.hiddenSince : 0;
    this.hiddenSince = null;
    if (!this.source || away > HIDDEN || this.age() > STALE) {
      this.connect();
      this.resync();
    }
  }
}

export const stream = new Stream();

document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    stream.hiddenSince = Date.now();
    setTimeout(() => {
      if (document.hidden && stream.hiddenSince && Date.now() - stream.hiddenSince >= HIDDEN) stream.close();
    }, HIDDEN + 1000);
  } else stream.wake();
});
window.addEventListener('online', () => stream.wake());
