import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bytes, count, countsByKind, cut, duration, fraction, instanceStatus, modeNote, percent, placement, rate, rowKeys, timeOfDay, upCount, wholeSeconds } from '../lib/format.js';

const plain = text => text.replaceAll('\u00a0', ' ');
const instance = (changes = {}) => ({ state: 'healthy', breaker: 'closed', draining: false, ...changes });

test('durations take the unit that keeps them short', () => {
  assert.deepEqual([0.1204, 0.9994, 0.9999, 9.94, 9.96, 119, 121, 7300].map(duration).map(plain), [
    '120 ms',
    '999 ms',
    '1.0 s',
    '9.9 s',
    '10 s',
    '119 s',
    '2 min',
    '2 h'
  ]);
});

test('what is unknown is not shown as zero', () => {
  assert.deepEqual([duration(null), percent(null), bytes(null), placement(null)], ['–', '–', '–', '']);
});

test('a countdown that has passed stays at zero', () => {
  assert.equal(plain(wholeSeconds(-3)), '0 s');
});

test('rates and sizes', () => {
  assert.deepEqual([percent(0.001), percent(1), percent(0.616, 0)].map(plain), ['0.1 %', '100 %', '62 %']);
  assert.deepEqual([0, 999, 1500, 212_000_000, 999_700_000].map(bytes).map(plain), ['0 B', '999 B', '1.5 kB', '212 MB', '1.0 GB']);
});

test('where a model lies', () => {
  assert.deepEqual([0, 1, 0.62].map(placement).map(plain), ['CPU', 'GPU 100 %', 'GPU 62 %']);
});

test('the time of day has two digits everywhere', () => {
  assert.match(timeOfDay(1_700_000_000.5), /^\d\d:\d\d:\d\d$/);
});

test('a drained instance says so whatever its health', () => {
  assert.equal(instanceStatus(instance({ draining: true, breaker: 'open', state: 'unhealthy' })), 'draining');
});

test('the breaker speaks before the health check', () => {
  assert.equal(instanceStatus(instance({ breaker: 'open' })), 'failed');
  assert.equal(instanceStatus(instance({ breaker: 'half_open' })), 'probing');
});

test('a state of a newer kernel is unknown, not OK', () => {
  assert.equal(instanceStatus(instance({ state: 'sleeping' })), 'unknown');
});

test('instances that answer are up, drained or not', () => {
  const instances = [instance(), instance({ state: 'degraded' }), instance({ draining: true }), instance({ breaker: 'open' }), instance({ state: 'unknown' })];
  assert.equal(upCount({ instances }), 3);
});

test('a bar is never longer than its place', () => {
  assert.deepEqual([fraction(3, 2), fraction(-1, 2), fraction(1, 0), fraction(1, 4)], [1, 0, 0, 0.25]);
});

test('a mode that cannot run says why', () => {
  assert.equal(modeNote({ enabled: true, available: true, note: 'weaker' }), '');
  assert.equal(modeNote({ enabled: true, available: null, note: '' }), '');
  assert.equal(modeNote({ enabled: false, available: null, note: '' }), 'disabled');
  assert.equal(modeNote({ enabled: true, available: false, note: 'no Docker daemon' }), 'no Docker daemon');
});

test('thousands stand apart', () => {
  assert.deepEqual([0, 999, 1000, 1234567.4].map(count).map(plain), ['0', '999', '1 000', '1 234 567']);
});

test('slow rates keep a digit', () => {
  assert.deepEqual([null, 0, 0.44, 9.96, 41.3].map(rate), ['–', '0', '0.4', '10', '41']);
});

test('rows with one id are told apart, others keep theirs', () => {
  assert.deepEqual(rowKeys(['a', 'b', 'a', '', 'a']), ['a', 'b', 'a #2', '', 'a #3']);
});

test('a long name is cut, a short one left', () => {
  assert.deepEqual([cut('gpu-1'), cut('abcdef', 4)], ['gpu-1', 'abc…']);
});

test('security events are counted over all modes, the most frequent first', () => {
  const counts = [
    { kind: 'oom', mode: 'a', count: 1 },
    { kind: 'network', mode: 'a', count: 2 },
    { kind: 'oom', mode: 'b', count: 4 }
  ];
  assert.deepEqual(countsByKind(counts), [['oom', 5], ['network', 2]]);
});
