import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';

import { KernelLink, LOAD_LINE } from '../../src/kernel/connection';
import type { Listener } from '../../src/kernel/wire';
import { FakeContext, FakeWire } from '../fakes/kernel';
import { snapshot } from '../fakes/views';

const wires: FakeWire[] = [];

jest.mock('../../src/kernel/reaching', () => ({
  reach: (_kernel: unknown, _carriers: unknown, _target: string, listener: Listener) => {
    const wire = new FakeWire(listener);
    wires.push(wire);
    return wire;
  }
}));

const welcome = (changes: object = {}): object => ({ type: 'welcome', version: '1', answers_while_busy: true, cell_s: null, commands: [], ...changes });
const picture = (seq: number): object => ({ type: 'snapshot', snapshot: snapshot({ seq }) });
const settled = (): Promise<void> => jest.advanceTimersByTimeAsync(0);

beforeEach(() => {
  jest.useFakeTimers();
  Object.assign(globalThis, { window: globalThis }); // timers are the page's
  wires.length = 0;
});

afterEach(() => {
  jest.useRealTimers();
  Reflect.deleteProperty(globalThis, 'window');
});

function last(): FakeWire {
  return wires[wires.length - 1];
}

/** A kernel that is followed and looked at; `answering`: and has sent its first picture. */
async function followed(answering = true) {
  const context = new FakeContext();
  const link = new KernelLink();
  const states: string[] = [];
  link.changed.connect((_, { kind }) => {
    if (states[states.length - 1] !== kind) {
      states.push(kind);
    }
  });
  link.setWanted(true);
  link.follow(context.asContext);
  if (answering) {
    last().opened();
    await settled();
    last().listener.heard(welcome());
    last().listener.heard(picture(1));
  }
  return { context, link, states };
}

test('a kernel is greeted once it has taken the line, and lives from its first picture on', async () => {
  const { link, states } = await followed(false);
  expect(last().sent).toEqual([]);
  last().opened();
  await settled();
  expect(last().sent).toEqual([{ type: 'hello' }]);
  expect(link.wasLive).toBe(false);
  last().listener.heard(picture(1));
  expect(states).toEqual(['unasked', 'connecting', 'live']);
  expect(link.wasLive).toBe(true);
});

test('a kernel that nobody looks at is asked only when a cell spoke of us, and has ended', () => {
  const context = new FakeContext();
  const link = new KernelLink();
  link.follow(context.asContext);
  context.cell('busy', 'x = 1');
  context.cell('idle');
  expect(wires).toHaveLength(0);
  context.cell('busy', '%%llm\nhi');
  expect(wires).toHaveLength(0);
  context.cell('idle');
  expect(wires).toHaveLength(1);
  expect(link.state.kind).toBe('connecting');
});

test('where the settings forbid it, no kernel is asked by itself', async () => {
  const context = new FakeContext();
  const link = new KernelLink();
  link.autoAttach = false;
  link.setWanted(true);
  link.follow(context.asContext, () => true);
  context.cell('busy', LOAD_LINE);
  context.cell('idle');
  expect(wires).toHaveLength(0);
  link.autoAttach = true;
  expect(wires).toHaveLength(1);
});

test('a kernel that closes the line has not loaded the extension', async () => {
  const { link } = await followed(false);
  last().listener.closed();
  expect(link.state).toEqual({ kind: 'not-loaded', failure: '' });
});

test('why the extension could not be loaded is told with it', async () => {
  const { context, link } = await followed(false);
  const loading = link.load(async () => context.say('error', { ename: 'ModuleNotFoundError', evalue: "No module named 'gleitzeit_nb'\nmore" }));
  await settled();
  last().opened();
  await loading;
  last().listener.closed();
  expect(link.state).toEqual({ kind: 'not-loaded', failure: "ModuleNotFoundError: No module named 'gleitzeit_nb'" });
});

test('a kernel that is idle and says nothing is asked twice, and may still answer', async () => {
  const { link } = await followed(false);
  await jest.advanceTimersByTimeAsync(60_000);
  expect(wires).toHaveLength(2);
  expect(wires[0].isDisposed).toBe(true);
  expect(link.state.kind).toBe('silent');
  last().listener.heard(picture(1));
  expect(link.state.kind).toBe('live');
});

test('a busy kernel is waited for', async () => {
  const { context, link } = await followed(false);
  context.kernel.status = 'busy';
  await jest.advanceTimersByTimeAsync(60_000);
  expect(wires).toHaveLength(1);
  expect(link.state.kind).toBe('connecting');
});

test('what a kernel says that was left is not shown', async () => {
  const { link } = await followed();
  const left = last();
  const other = new FakeContext();
  link.follow(other.asContext);
  expect(left.isDisposed).toBe(true);
  left.listener.heard(picture(2));
  left.listener.closed();
  expect(link.state.kind).toBe('connecting');
});

test('of a restarted kernel nothing is left, and the new one is asked', async () => {
  const { context, link, states } = await followed();
  const asked = link.request({ type: 'reload' }).catch((error: unknown) => error);
  context.become('autorestarting');
  expect(await asked).toMatchObject({ failure: 'gone' });
  expect(link.state.kind).toBe('restarting');
  context.become('idle');
  expect(states).toEqual(['unasked', 'connecting', 'live', 'restarting', 'unasked', 'connecting']);
  expect(link.wasLive).toBe(false);
});

test('a dead kernel is not asked', async () => {
  const { context, link } = await followed();
  context.become('dead');
  expect(link.state.kind).toBe('dead');
  await link.attach();
  expect(wires).toHaveLength(1);
});

test('a cell that loads it anew ends the line, and its end brings another', async () => {
  const { context, link } = await followed();
  context.cell('busy', '%reload_ext gleitzeit_nb');
  last().listener.closed();
  expect(link.state.kind).toBe('not-loaded');
  context.cell('idle');
  expect(wires).toHaveLength(2);
  expect(link.state.kind).toBe('connecting');
});

test('a kernel that is being shut down is not asked for its last words', async () => {
  const { context, link } = await followed();
  context.isTerminating = true;
  context.become('terminating');
  context.become('idle');
  expect(wires).toHaveLength(1);
  expect(link.state.kind).toBe('dead');
});

test('that the page has lost the kernel is told at once, and that it has found it', async () => {
  const { context, link } = await followed();
  const seen: boolean[] = [];
  link.changed.connect(() => seen.push(link.isConnected));
  context.reach('connecting');
  context.reach('connected');
  expect(seen).toEqual([false, true]);
  expect(link.state.kind).toBe('live');
});

test('a line that was lost with its connection is made anew', async () => {
  const { link } = await followed();
  const lost = last();
  lost.isLost = true;
  lost.listener.closed();
  expect(lost.clearedOver).toEqual(['k1']);
  expect(wires).toHaveLength(2);
  expect(link.state.kind).toBe('connecting');
});

test('what cannot be read is said, until something can be', async () => {
  const { link } = await followed();
  last().listener.heard({ type: 'snapshot', snapshot: { schema_version: 999 } });
  expect(link.state).toMatchObject({ kind: 'incompatible', reason: expect.stringContaining('999') });
  last().listener.heard(picture(2));
  expect(link.state.kind).toBe('live');
});

test('a line that cannot be opened says why', async () => {
  const { link } = await followed(false);
  last().opened(new Error('no comms here\nat line 3'));
  await settled();
  expect(link.state).toEqual({ kind: 'incompatible', reason: 'Error: no comms here' });
});

test('a command is sent with a name, and what it brought comes to who gave it', async () => {
  const { link } = await followed();
  const asked = link.request({ type: 'drain', instance: 'gpu-1' });
  const [, sent] = last().sent;
  expect(sent).toMatchObject({ type: 'drain', instance: 'gpu-1' });
  last().listener.heard({ type: 'done', of: 'drain', request: Reflect.get(Object(sent), 'request'), text: 'It drains.', report: '' });
  expect(await asked).toMatchObject({ outcome: 'done', text: 'It drains.' });
});

test('a command to nobody is not sent', async () => {
  const { link } = await followed(false);
  await expect(link.request({ type: 'reload' })).rejects.toMatchObject({ failure: 'not-live' });
  expect(last().sent).toEqual([]);
});

test('a refusal that nobody waits for is told', async () => {
  const { link } = await followed();
  const told: string[] = [];
  link.refused.connect((_, text) => told.push(text));
  last().listener.heard({ type: 'error', of: 'drain', request: 'of an earlier page', text: 'There is no such instance.', report: '' });
  last().listener.heard({ type: 'done', of: 'drain', request: 'of an earlier page', text: 'done', report: '' });
  expect(told).toEqual(['There is no such instance.']);
});

test('a running cell is known by its own messages, and without a subshell commands wait for its end', async () => {
  const { context, link } = await followed();
  last().passesCells = false;
  expect(link.mustWait).toBe(false);
  context.cell('busy', 'x');
  expect(link.mustWait).toBe(true);
  const told: unknown[] = [];
  void link.request({ type: 'reload' }, progress => told.push(progress)).catch(() => undefined);
  expect(told).toEqual([{ kind: 'waiting' }]);
  context.cell('idle');
  expect(link.busySince).toBeNull();
});

test('a cell that ran before the page came is counted from its beginning', async () => {
  const { link } = await followed(false);
  last().opened();
  await settled();
  last().listener.heard(welcome({ cell_s: 90 }));
  expect(link.busySince).toBe(Date.now() - 90_000);
});

test('pictures that come sooner than a person wants wait, and keep the moment at which they came', async () => {
  const { link } = await followed();
  link.refreshInterval = 5;
  const seq = (): unknown => (link.state.kind === 'live' ? link.state.snapshot.seq : null);
  await jest.advanceTimersByTimeAsync(1000);
  const came = Date.now();
  last().listener.heard(picture(2));
  expect(seq()).toBe(1);
  await jest.advanceTimersByTimeAsync(4000);
  expect(seq()).toBe(2);
  expect(link.state).toMatchObject({ receivedAt: came });
});

test('with its notebook closed it follows nothing, and lets go of it', async () => {
  const { context, link } = await followed();
  context.disposed.emit();
  expect(link.state.kind).toBe('no-notebook');
  context.become('idle');
  context.cell('busy', '%%llm');
  context.cell('idle');
  expect(link.state.kind).toBe('no-notebook');
  expect(link.busySince).toBeNull();
});
