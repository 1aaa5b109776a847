import { expect, test } from '@jest/globals';

import type { InstanceView } from '../../src/kernel/model';
import { asBefore, matching, ordered } from '../../src/panel/instanceOrder';
import { type InstanceOrder, ORDERS } from '../../src/settings/settings';
import { instance, warmModel } from '../fakes/views';

const named = (id: string, changes: Partial<InstanceView> = {}): InstanceView => instance({ id, url: `http://${id}:11434`, max_concurrent: 4, ...changes });
const ids = (instances: readonly InstanceView[]): string[] => instances.map(({ id }) => id);
const pool = [
  named('gpu-10', { in_flight: 1, latency_s: 0.2, tokens_per_s: [90, 5], tags: ['gpu'] }),
  named('gpu-9', { state: 'degraded', in_flight: 1, max_concurrent: 1, error_rate: 0.5, tokens_per_s: [1, 7], models: ['llama3.2:70b'] }),
  named('cpu', { breaker: 'open', latency_s: 3, error_rate: 1, tags: ['remote site'] }),
  named('idle', { draining: true, warm: [warmModel('Mixtral')] })
];

test('each order puts first what it says, and last what is not known', () => {
  const expected: Record<InstanceOrder, string[]> = {
    configured: ['gpu-10', 'gpu-9', 'cpu', 'idle'],
    name: ['cpu', 'gpu-9', 'gpu-10', 'idle'],
    status: ['cpu', 'gpu-9', 'idle', 'gpu-10'],
    load: ['gpu-9', 'gpu-10', 'cpu', 'idle'],
    latency: ['cpu', 'gpu-10', 'gpu-9', 'idle'],
    errors: ['cpu', 'gpu-9', 'gpu-10', 'idle'],
    tokens: ['gpu-9', 'gpu-10', 'cpu', 'idle']
  };
  expect(Object.fromEntries(ORDERS.map(order => [order, ids(ordered(pool, order))]))).toEqual(expected);
  expect(ids(pool)).toEqual(expected.configured);
});

test('all words have to be found, in name, tag, model, state or address', () => {
  const found = (words: string): string[] => ids(matching(pool, words));
  expect(found('')).toEqual(ids(pool));
  expect(found('  ')).toEqual(ids(pool));
  expect(found('GPU')).toEqual(['gpu-10', 'gpu-9']);
  expect(found('gpu 70b')).toEqual(['gpu-9']);
  expect(found('mixtral')).toEqual(['idle']);
  expect(found('failed')).toEqual(['cpu']);
  expect(found('draining')).toEqual(['idle']);
  expect(found('site remote')).toEqual(['cpu']);
  expect(found('gpu cpu')).toEqual([]);
  expect(found('(.*)')).toEqual([]);
});

test('what was shown stays where it is, and what is new comes last', () => {
  expect(ids(asBefore(pool, ['idle', 'gpu-9', 'gone']))).toEqual(['idle', 'gpu-9', 'gpu-10', 'cpu']);
  const twice = [instance({ id: 'a', url: '1' }), named('b'), instance({ id: 'a', url: '2' })];
  expect(asBefore(twice, ['b', 'a', 'a']).map(({ url }) => url)).toEqual(['http://b:11434', '1', '2']);
});
