import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cancel, coldModels, drain, keyOf, resetSession, shortId, stopContainer, unload, warm } from '../lib/commands/actions.js';

const trans = { __: (text, ...values) => text.replace(/%(\d)/g, (_, place) => values[place - 1]) };
const gpu = (changes = {}) => ({ id: 'gpu-1', draining: false, in_flight: 0, models: ['a', 'b'], warm: [{ name: 'b' }], ...changes });

test('each action is named by verb and object', () => {
  const run = { id: 'r1', kind: 'llm', label: '[12] %%llm', model: 'llama3.2' };
  const named = [
    drain(gpu(), trans),
    drain(gpu({ draining: true }), trans),
    warm(gpu(), 'a', trans),
    unload(gpu(), 'b', trans),
    cancel(run, trans),
    stopContainer({ id: '3f2a9c1d5b7e0000', session: '', run: '' }, trans),
    resetSession({ name: 'work', state: 'idle' }, trans)
  ];
  assert.deepEqual(named.map(({ label }) => label), [
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
  assert.equal(drain(gpu(), trans).question, null);
  assert.equal(warm(gpu(), 'a', trans).question, null);
  assert.equal(unload(gpu(), 'b', trans).question, null);
  assert.notEqual(unload(gpu({ in_flight: 1 }), 'b', trans).question, null);
  for (const kind of ['llm', 'sandbox', 'job', 'something new']) {
    assert.notEqual(cancel({ id: 'r', kind, label: '', model: '' }, trans).question, null);
  }
});

test('the question says what would be lost', () => {
  const body = container => stopContainer({ id: 'c', session: '', run: '', ...container }, trans).question.body;
  assert.match(body({ session: 'work' }), /work.*variables are lost/);
  assert.match(body({ run: 'r1' }), /that run fails/);
  assert.match(body({}), /idle/);
  assert.match(resetSession({ name: 'work', state: 'running' }, trans).question.body, /that run fails/);
});

test('the command names the whole id, however its name is cut', () => {
  const long = 'x'.repeat(500);
  assert.equal(drain(gpu({ id: long }), trans).command.instance, long);
  assert.ok(drain(gpu({ id: long }), trans).label.length < 80);
  assert.equal(shortId('3f2a9c1d5b7e0000'), '3f2a9c1d5b7e');
});

test('models that are not in memory can be warmed', () => {
  assert.deepEqual(coldModels(gpu()), ['a']);
});

test('commands that would do the same have one key, whatever the order of their words', () => {
  assert.equal(keyOf({ type: 'warm', instance: 'i', model: 'm' }), keyOf({ model: 'm', instance: 'i', type: 'warm' }));
  assert.notEqual(keyOf({ type: 'drain', instance: 'i' }), keyOf({ type: 'drain', instance: 'j' }));
});
