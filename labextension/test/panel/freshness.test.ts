import { expect, test } from '@jest/globals';

import { isStale, PATIENCE_S } from '../../src/panel/freshness';
import { run, snapshot } from '../fakes/views';

const idle = snapshot();
const busy = snapshot({ runs: [run()] });

test('a kernel with nothing to do may be silent', () => {
  expect(isStale(idle, 3600, true)).toBe(false);
});

test('silence is a sign while something runs or is asked', () => {
  expect(isStale(busy, PATIENCE_S - 1, true)).toBe(false);
  expect(isStale(busy, PATIENCE_S + 1, true)).toBe(true);
  expect(isStale(snapshot({ in_flight: 1 }), PATIENCE_S + 1, true)).toBe(true);
});

test('what a person lets be held back is no silence', () => {
  expect(isStale(busy, PATIENCE_S + 1, true, 10)).toBe(false);
  expect(isStale(busy, PATIENCE_S + 11, true, 10)).toBe(true);
});

test('without a line to the kernel nothing can be known', () => {
  expect(isStale(idle, 0, false)).toBe(true);
});
