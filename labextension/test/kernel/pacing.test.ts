import { expect, test } from '@jest/globals';

import { Pacing } from '../../src/kernel/pacing';
import { Clock } from '../fakes/clock';

function paced(interval: number) {
  const clock = new Clock();
  const shown: string[] = [];
  const pacing = new Pacing<string>(
    clock,
    () => clock.now,
    value => shown.push(value)
  );
  pacing.interval = interval;
  return { clock, shown, pacing };
}

test('without an interval all is shown as it comes', () => {
  const { clock, shown, pacing } = paced(0);
  pacing.take('a');
  pacing.take('b');
  expect(shown).toEqual(['a', 'b']);
  expect(clock.waiting).toBe(0);
});

test('what comes too soon waits, and of several the newest is shown', () => {
  const { clock, shown, pacing } = paced(1000);
  pacing.take('a');
  clock.pass(400);
  pacing.take('b');
  pacing.take('c');
  clock.pass(599);
  expect(shown).toEqual(['a']);
  clock.pass(1);
  expect(shown).toEqual(['a', 'c']);
  clock.pass(5000);
  expect(shown).toEqual(['a', 'c']);
});

test('after what waited, the next waits again', () => {
  const { clock, shown, pacing } = paced(1000);
  pacing.take('a');
  pacing.take('b');
  clock.pass(1000);
  pacing.take('c');
  expect(shown).toEqual(['a', 'b']);
  clock.pass(1000);
  expect(shown).toEqual(['a', 'b', 'c']);
});

test('what comes late enough does not wait', () => {
  const { clock, shown, pacing } = paced(1000);
  pacing.take('a');
  clock.pass(1000);
  pacing.take('b');
  expect(shown).toEqual(['a', 'b']);
  expect(clock.waiting).toBe(0);
});

test('what is forgotten is never shown, and the next is shown at once', () => {
  const { clock, shown, pacing } = paced(1000);
  pacing.take('a');
  pacing.take('of a kernel that is gone');
  pacing.forget();
  expect(clock.waiting).toBe(0);
  pacing.take('b');
  clock.pass(5000);
  expect(shown).toEqual(['a', 'b']);
});

test('another interval holds from now on, and what waits is shown', () => {
  const { clock, shown, pacing } = paced(10_000);
  pacing.take('a');
  pacing.take('b');
  pacing.interval = 0;
  expect(shown).toEqual(['a', 'b']);
  pacing.take('c');
  expect(shown).toEqual(['a', 'b', 'c']);
  expect(clock.waiting).toBe(0);
});
