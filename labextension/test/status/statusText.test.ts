import { expect, test } from '@jest/globals';

import type { LinkState } from '../../src/kernel/linkState';
import type { Snapshot } from '../../src/kernel/model';
import { type Seen, statusDetail, statusLine } from '../../src/status/statusText';
import { trans } from '../fakes/translation';
import { instance, mode, snapshot } from '../fakes/views';

const up = instance();
const down = instance({ state: 'unhealthy', breaker: 'open' });

function live(changes: Partial<Snapshot> = {}): Seen {
  const counted = { modes: [mode()], instances: [up, up, up, down], queue_depth: 2, in_flight: 6, tokens_per_s: 62.6, containers: 2 };
  return { state: { kind: 'live', snapshot: snapshot({ ...counted, ...changes }), receivedAt: 0 }, wasLive: true, isConnected: true };
}

test('the line counts instances, the queue and warm sandboxes', () => {
  expect(statusLine(live(), trans)).toBe('Ollama 3/4 · 2 queued · sandbox 2 warm');
});

test('without a queue it counts what is in flight, and nothing where nothing is', () => {
  expect(statusLine(live({ queue_depth: 0 }), trans)).toBe('Ollama 3/4 · 6 in flight · sandbox 2 warm');
  expect(statusLine(live({ queue_depth: 0, in_flight: 0 }), trans)).toBe('Ollama 3/4 · sandbox 2 warm');
});

test('a kernel that was asked nothing yet has no zeros to show', () => {
  const idle = live({ modes: [], instances: [] });
  expect(statusLine(idle, trans)).toBe('Gleitzeit ready');
  expect(statusDetail(idle, 'a.ipynb', trans)).toMatch(/^a\.ipynb\nLoaded\. The first %%llm or %%sandbox cell /);
});

test('the end of a kernel is told where it was live, and is nobody’s business elsewhere', () => {
  for (const state of [{ kind: 'restarting' }, { kind: 'dead' }, { kind: 'not-loaded', failure: '' }] satisfies LinkState[]) {
    expect(statusLine({ state, wasLive: false, isConnected: true }, trans)).toBe('');
    expect(statusLine({ state, wasLive: true, isConnected: true }, trans)).toMatch(/^Gleitzeit: /);
  }
  for (const kind of ['no-notebook', 'no-kernel', 'unasked', 'connecting'] as const) {
    expect(statusLine({ state: { kind }, wasLive: true, isConnected: true }, trans)).toBe('');
  }
});

test('the detail has the numbers that the line leaves out', () => {
  const detail = statusDetail(live(), 'a.ipynb', trans).split('\n');
  expect(detail[1]).toBe('3 of 4 Ollama instances answer');
  expect(detail[2]).toBe('6 requests in flight, 2 queued, 63 tokens per second');
});

test('another version says which', () => {
  const state: LinkState = { kind: 'incompatible', reason: 'snapshot is not of version 2' };
  expect(statusDetail({ state, wasLive: false, isConnected: true }, '', trans)).toMatch(/of version 2/);
});

test('what cannot be known any more is not counted', () => {
  const cut = { ...live({}), isConnected: false };
  expect(statusLine(cut, trans)).toBe('Gleitzeit: line to the kernel cut');
  expect(statusDetail(cut, 'a.ipynb', trans)).toMatch(/^a\.ipynb\nWhat it has now cannot be known/);
});
