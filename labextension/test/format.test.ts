import { expect, test } from '@jest/globals';

import { bytes, count, countsByKind, cut, duration, fraction, instanceStatus, modeNote, percent, placement, rate, rowKeys, timeOfDay, upCount, wholeSeconds } from '../src/format';
import { trans } from './fakes/translation';
import { instance, mode, snapshot } from './fakes/views';

const plain = (text: string): string => text.replace(/\u00a0/g, ' ');

test('durations take the unit that keeps them short', () => {
  expect([0.1204, 0.9994, 0.9999, 9.94, 9.96, 119, 121, 7300].map(duration).map(plain)).toEqual([
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
  expect([duration(null), percent(null), bytes(null), placement(null)]).toEqual(['–', '–', '–', '']);
});

test('a countdown that has passed stays at zero', () => {
  expect(plain(wholeSeconds(-3))).toBe('0 s');
});

test('rates and sizes', () => {
  expect([percent(0.001), percent(1), percent(0.616, 0)].map(plain)).toEqual(['0.1 %', '100 %', '62 %']);
  expect([0, 999, 1500, 212_000_000, 999_700_000].map(bytes).map(plain)).toEqual(['0 B', '999 B', '1.5 kB', '212 MB', '1.0 GB']);
});

test('where a model lies', () => {
  expect([0, 1, 0.62].map(placement).map(plain)).toEqual(['CPU', 'GPU 100 %', 'GPU 62 %']);
});

test('the time of day has two digits everywhere', () => {
  expect(timeOfDay(1_700_000_000.5)).toMatch(/^\d\d:\d\d:\d\d$/);
});

test('a drained instance says so whatever its health', () => {
  expect(instanceStatus(instance({ draining: true, breaker: 'open', state: 'unhealthy' }))).toBe('draining');
});

test('the breaker speaks before the health check', () => {
  expect(instanceStatus(instance({ breaker: 'open' }))).toBe('failed');
  expect(instanceStatus(instance({ breaker: 'half_open' }))).toBe('probing');
});

test('a state of a newer kernel is unknown, not OK', () => {
  expect(instanceStatus(instance({ state: 'sleeping' }))).toBe('unknown');
  expect(instanceStatus(instance({ state: 'constructor' }))).toBe('unknown');
});

test('instances that answer are up, drained or not', () => {
  const instances = [instance(), instance({ state: 'degraded' }), instance({ draining: true }), instance({ breaker: 'open' }), instance({ state: 'unknown' })];
  expect(upCount(snapshot({ instances }))).toBe(3);
});

test('a bar is never longer than its place', () => {
  expect([fraction(3, 2), fraction(-1, 2), fraction(1, 0), fraction(1, 4)]).toEqual([1, 0, 0, 0.25]);
});

test('a mode that cannot run says why', () => {
  expect(modeNote(mode({ enabled: true, available: true, note: 'weaker' }), trans)).toBe('');
  expect(modeNote(mode({ enabled: true, available: null, note: '' }), trans)).toBe('');
  expect(modeNote(mode({ enabled: false, available: null, note: '' }), trans)).toBe('disabled');
  expect(modeNote(mode({ enabled: true, available: false, note: 'no Docker daemon' }), trans)).toBe('no Docker daemon');
});

test('thousands stand apart', () => {
  expect([0, 999, 1000, 1234567.4].map(count).map(plain)).toEqual(['0', '999', '1 000', '1 234 567']);
});

test('slow rates keep a digit', () => {
  expect([null, 0, 0.44, 9.96, 41.3].map(rate)).toEqual(['–', '0', '0.4', '10', '41']);
});

test('rows with one id are told apart, others keep theirs', () => {
  expect(rowKeys(['a', 'b', 'a', '', 'a'])).toEqual(['a', 'b', 'a #2', '', 'a #3']);
});

test('a long name is cut, a short one left', () => {
  expect([cut('gpu-1'), cut('abcdef', 4)]).toEqual(['gpu-1', 'abc…']);
});

test('security events are counted over all modes, the most frequent first', () => {
  const counts = [
    { kind: 'oom', mode: 'a', count: 1 },
    { kind: 'network', mode: 'a', count: 2 },
    { kind: 'oom', mode: 'b', count: 4 }
  ];
  expect(countsByKind(counts)).toEqual([['oom', 5], ['network', 2]]);
});
