import { expect, test } from '@jest/globals';

import { cancel, coldModels, drain, isGone, keyOf, resetSession, restartPool, shortId, stopContainer, unload, warm } from '../../src/commands/actions';
import type { ContainerView, InstanceView } from '../../src/kernel/model';
import { trans } from '../fakes/translation';
import { container, instance, run, session, snapshot, warmModel } from '../fakes/views';

const gpu = (changes: Partial<InstanceView> = {}): InstanceView => instance({ models: ['a', 'b'], warm: [warmModel('b')], ...changes });

test('each action is named by verb and object', () => {
  const named = [
    drain(gpu(), trans),
    drain(gpu({ draining: true }), trans),
    warm(gpu(), 'a', trans),
    unload(gpu(), 'b', trans),
    cancel(run(), trans),
    stopContainer(container(), trans),
    resetSession(session(), trans)
  ];
  expect(named.map(({ label }) => label)).toEqual([
    'Drain gpu-1',
    'Resume gpu-1',
    'Warm a on gpu-1',
    'Unload b from gpu-1',
    'Cancel [12] %%llm llama3.2',
    'Stop container 3f2a9c1d5b7e',
    'Reset session work'
  ]);
});

test('what destroys something asks first, and only that', () => {
  expect(drain(gpu(), trans).question).toBeNull();
  expect(warm(gpu(), 'a', trans).question).toBeNull();
  expect(unload(gpu(), 'b', trans).question).toBeNull();
  expect(unload(gpu({ in_flight: 1 }), 'b', trans).question).not.toBeNull();
  for (const kind of ['llm', 'sandbox', 'job', 'something new']) {
    expect(cancel(run({ kind }), trans).question).not.toBeNull();
  }
});

test('the question says what would be lost', () => {
  const body = (changes: Partial<ContainerView>): string | undefined => stopContainer(container(changes), trans).question?.body;
  expect(body({ session: 'work' })).toMatch(/work.*variables are lost/);
  expect(body({ run: 'r1' })).toMatch(/that run fails/);
  expect(body({})).toMatch(/idle/);
  expect(resetSession(session({ state: 'running' }), trans).question?.body).toMatch(/that run fails/);
});

test('the command names the whole id, however its name is cut', () => {
  const long = 'x'.repeat(500);
  expect(drain(gpu({ id: long }), trans).command).toEqual({ type: 'drain', instance: long });
  expect(drain(gpu({ id: long }), trans).label.length).toBeLessThan(80);
  expect(shortId('3f2a9c1d5b7e0000')).toBe('3f2a9c1d5b7e');
});

test('models that are not in memory can be warmed', () => {
  expect(coldModels(gpu())).toEqual(['a']);
});

test('commands that would do the same have one key, whatever the order of their words', () => {
  expect(keyOf({ type: 'warm', instance: 'i', model: 'm' })).toBe(keyOf({ model: 'm', instance: 'i', type: 'warm' }));
  expect(keyOf({ type: 'drain', instance: 'i' })).not.toBe(keyOf({ type: 'drain', instance: 'j' }));
});

test('a request that has answered nothing loses nothing', () => {
  expect(cancel(run({ tokens: 0 }), trans).question?.body).toContain('answered nothing yet');
  expect(cancel(run({ tokens: 3 }), trans).question?.body).toContain('so far stays');
});

test('what ended meanwhile is known by the snapshot, as far as that tells', () => {
  const [asked, kept, one, loaded] = [cancel(run(), trans), stopContainer(container(), trans), resetSession(session(), trans), unload(gpu(), 'b', trans)];
  const full = snapshot({ runs: [run()], runs_total: 1, container_list: [container()], sessions: [session()], instances: [gpu()] });
  for (const action of [asked, kept, one, loaded]) {
    expect(isGone(action.command, full)).toBe(false);
    expect(isGone(action.command, snapshot())).toBe(true);
  }
  expect(isGone(asked.command, snapshot({ runs: [run({ id: 'other' })], runs_total: 60 }))).toBe(false); // it may be one that is only counted
  for (const action of [drain(gpu(), trans), warm(gpu(), 'a', trans), restartPool(trans)]) {
    expect(isGone(action.command, snapshot())).toBe(false);
  }
});
