import assert from 'node:assert/strict';
import { test } from 'node:test';

import { lines, pathOf, range } from '../lib/panel/sparkline.js';

test('the highest value touches the upper edge, and zero the lower one', () => {
  assert.deepEqual(lines([0, 5, 10], 100, 16), [
    [
      { x: 0, y: 16 },
      { x: 50, y: 8 },
      { x: 100, y: 0 }
    ]
  ]);
});

test('with a given top, a share is drawn as a share, and more than all as all', () => {
  assert.deepEqual(lines([0.5, 2], 10, 16, 1)[0].map(({ y }) => y), [8, 0]);
});

test('an unknown value leaves a gap, and is no zero', () => {
  const parts = lines([1, null, 2, 3, null], 100, 10);
  assert.deepEqual(parts.map(part => part.length), [1, 2]);
  assert.deepEqual(range([1, null, 3, null]), { least: 1, most: 3, last: 3 });
});

test('nothing known draws nothing', () => {
  assert.deepEqual([lines([], 100, 10), lines([null, null], 100, 10), range([null])], [[], [], null]);
});

test('a lone value is a dot, and only zeros a line at the foot', () => {
  assert.equal(pathOf(lines([4], 100, 10)), 'M0 0L0 0');
  assert.equal(pathOf(lines([0, 0], 100, 10)), 'M0 10L100 10');
});
