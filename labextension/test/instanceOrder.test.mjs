import assert from 'node:assert/strict';
import { test } from 'node:test';

import { asBefore, matching, ordered } from '../lib/panel/instanceOrder.js';
import { ORDERS } from '../lib/settings/settings.js';

const instance = (id, changes = {}) => ({
  id,
  url: `http://${id}:11434`,
  tags: [],
  state: 'healthy',
  draining: false,
  breaker: 'closed',
  in_flight: 0,
  max_concurrent: 4,
  latency_s: null,
  error_rate: null,
  tokens_per_s: [],
  warm: [],
  models: [],
  ...changes
});
const ids = instances => instances.map(({ id }) => id);
const pool = [
  instance('gpu-10', { in_flight: 1, latency_s: 0.2, tokens_per_s: [90, 5], tags: ['gpu'] }),
  instance('gpu-9', { state: 'degraded', in_flight: 1, max_concurrent: 1, error_rate: 0.5, tokens_per_s: [1, 7], models: ['llama3.2:70b'] }),
  instance('cpu', { breaker: 'open', latency_s: 3, error_rate: 1, tags: ['remote site'] }),
  instance('idle', { draining: true, warm: [{ name: 'Mixtral' }] })
];

test('each order puts first what it says, and last what is not known', () => {
  const expected = {
    configured: ['gpu-10', 'gpu-9', 'cpu', 'idle'],
    name: ['cpu', 'gpu-9', 'gpu-10', 'idle'],
    status: ['cpu', 'gpu-9', 'idle', 'gpu-10'],
    load: ['gpu-9', 'gpu-10', 'cpu', 'idle'],
    latency: ['cpu', 'gpu-10', 'gpu-9', 'idle'],
    errors: ['cpu', 'gpu-9', 'gpu-10', 'idle'],
    tokens: ['gpu-9', 'gpu-10', 'cpu', 'idle']
  };
  assert.deepEqual(Object.keys(expected), [...ORDERS]);
  for (const order of ORDERS) {
    assert.deepEqual(ids(ordered(pool, order)), expected[order], order);
  }
  assert.deepEqual(ids(pool), expected.configured);
});

test('all words have to be found, in name, tag, model, state or address', () => {
  const found = words => ids(matching(pool, words));
  assert.deepEqual(found(''), ids(pool));
  assert.deepEqual(found('  '), ids(pool));
  assert.deepEqual(found('GPU'), ['gpu-10', 'gpu-9']);
  assert.deepEqual(found('gpu 70b'), ['gpu-9']);
  assert.deepEqual(found('mixtral'), ['idle']);
  assert.deepEqual(found('failed'), ['cpu']);
  assert.deepEqual(found('draining'), ['idle']);
  assert.deepEqual(found('site remote'), ['cpu']);
  assert.deepEqual(found('gpu cpu'), []);
  assert.deepEqual(found('(.*)'), []);
});

test('what was shown stays where it is, and what is new comes last', () => {
  assert.deepEqual(ids(asBefore(pool, ['idle', 'gpu-9', 'gone'])), ['idle', 'gpu-9', 'gpu-10', 'cpu']);
  const twice = [instance('a', { url: '1' }), instance('b'), instance('a', { url: '2' })];
  assert.deepEqual(asBefore(twice, ['b', 'a', 'a']).map(({ url }) => url), ['http://b:11434', '1', '2']);
});
