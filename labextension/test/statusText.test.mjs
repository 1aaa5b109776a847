import assert from 'node:assert/strict';
import { test } from 'node:test';

import { statusDetail, statusLine } from '../lib/status/statusText.js';

const trans = { __: (text, ...values) => values.reduce((sum, value, index) => sum.replace(`%${index + 1}`, value), text) };
const up = { state: 'healthy', breaker: 'closed' };
const down = { state: 'unhealthy', breaker: 'open' };

function live(changes = {}) {
  const snapshot = { modes: [{}], instances: [up, up, up, down], queue_depth: 2, in_flight: 6, tokens_per_s: 62.6, containers: 2, ...changes };
  return { state: { kind: 'live', snapshot, receivedAt: 0 }, wasLive: true };
}

test('the line counts instances, the queue and warm sandboxes', () => {
  assert.equal(statusLine(live(), trans), 'Ollama 3/4 · 2 queued · sandbox 2 warm');
});

test('without a queue it counts what is in flight, and nothing where nothing is', () => {
  assert.equal(statusLine(live({ queue_depth: 0 }), trans), 'Ollama 3/4 · 6 in flight · sandbox 2 warm');
  assert.equal(statusLine(live({ queue_depth: 0, in_flight: 0 }), trans), 'Ollama 3/4 · sandbox 2 warm');
});

test('a kernel that was asked nothing yet has no zeros to show', () => {
  const idle = live({ modes: [], instances: [] });
  assert.equal(statusLine(idle, trans), 'Gleitzeit ready');
  assert.match(statusDetail(idle, 'a.ipynb', trans), /^a\.ipynb\nLoaded\. The first %%llm or %%sandbox cell /);
});

test('the end of a kernel is told where it was live, and is nobody’s business elsewhere', () => {
  for (const kind of ['restarting', 'dead', 'not-loaded']) {
    assert.equal(statusLine({ state: { kind, failure: '' }, wasLive: false }, trans), '');
    assert.match(statusLine({ state: { kind, failure: '' }, wasLive: true }, trans), /^Gleitzeit: /);
  }
  for (const kind of ['no-notebook', 'no-kernel', 'unasked', 'connecting']) {
    assert.equal(statusLine({ state: { kind }, wasLive: true }, trans), '');
  }
});

test('the detail has the numbers that the line leaves out', () => {
  const detail = statusDetail(live(), 'a.ipynb', trans).split('\n');
  assert.equal(detail[1], '3 of 4 Ollama instances answer');
  assert.equal(detail[2], '6 requests in flight, 2 queued, 63 tokens per second');
});

test('another version says which', () => {
  const state = { kind: 'incompatible', reason: 'snapshot is not of version 2' };
  assert.match(statusDetail({ state, wasLive: false }, '', trans), /of version 2/);
});
